import { again } from '../again.ts';
import type { RawBroker, RawCluster, RawPartition } from './cluster.ts';
import { isTransient, protocolType } from './errors.ts';

const KNOWN_FOR_MS = 60_000;
const NEW_MS = 3_000;

/** By partition, the node that leads it. */
export type Leaders = ReadonlyMap<number, number>;

/** Who leads what, asked topic by topic: a deleted topic spoils no question about another. */
export interface Leadership {
  /** As last told, for a minute; `anew` asks again. */
  of(topic: string, anew?: boolean): Promise<Leaders>;
  partitionsOf(topic: string): Promise<number | undefined>;
  /** The fewest of any partition. */
  replicasOf(topic: string): Promise<number | undefined>;
  /** Leaders move, and take a moment to lead: what fails at an old one is asked again of the new one. */
  asking<T>(topic: string, ask: (leaders: Leaders) => Promise<T>): Promise<T>;
}

export function leadership(cluster: RawCluster, patienceMs: number): Leadership {
  const known = new Map<string, { readonly leaders: Leaders; readonly until: number }>();

  async function ask(topic: string): Promise<readonly RawPartition[]> {
    const broker = await cluster.brokerPool.findConnectedBroker();
    const { topicMetadata } = await broker.metadata([topic]);
    return topicMetadata.find((one) => one.topic === topic)?.partitionMetadata ?? [];
  }

  async function describe(topic: string): Promise<Leaders> {
    known.delete(topic);
    const leaders = new Map((await ask(topic)).map((one) => [one.partitionId, one.leader]));
    known.set(topic, { leaders, until: Date.now() + KNOWN_FOR_MS });
    return leaders;
  }

  /** Undefined where there is no such topic. While leaders are elected kafkajs has an error for an answer: asked again. */
  async function unlessMissing<T>(describing: () => Promise<T>): Promise<T | undefined> {
    try {
      return await again(describing, (error) => (protocolType(error) === 'LEADER_NOT_AVAILABLE' ? patienceMs : 0));
    } catch (error) {
      if (protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return undefined;
      throw error;
    }
  }

  async function of(topic: string, anew = false): Promise<Leaders> {
    const found = known.get(topic);
    return found !== undefined && !anew && Date.now() < found.until ? found.leaders : await describe(topic);
  }

  return {
    of,
    partitionsOf: async (topic) => (await unlessMissing(() => describe(topic)))?.size,
    async replicasOf(topic) {
      const partitions = await unlessMissing(() => ask(topic));
      return partitions && Math.min(...partitions.map(({ replicas }) => replicas.length));
    },
    asking<T>(topic: string, question: (leaders: Leaders) => Promise<T>) {
      let anew = false;
      const once = async (): Promise<T> => {
        const leaders = of(topic, anew);
        anew = true;
        return await question(await leaders);
      };
      // A new topic, too, is known here a moment before it is known there.
      return again(once, (error) =>
        protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION' ? NEW_MS : isTransient(error) ? patienceMs : 0,
      );
    },
  };
}

/** A connected broker, also one that has a new address. */
export async function nodeOf(cluster: RawCluster, nodeId: number): Promise<RawBroker> {
  try {
    return await cluster.findBroker({ nodeId });
  } catch {
    await cluster.refreshMetadata();
    return await cluster.findBroker({ nodeId });
  }
}
