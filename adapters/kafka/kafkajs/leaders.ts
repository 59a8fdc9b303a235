import type { RawBroker, RawCluster, RawPartition } from './cluster.ts';
import { isTransient, protocolType } from './errors.ts';

const KNOWN_FOR_MS = 60_000;
const AGAIN_MS = 50;
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
    for (const until = Date.now() + patienceMs; ; ) {
      try {
        return await describing();
      } catch (error) {
        const type = protocolType(error);
        if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return undefined;
        if (type !== 'LEADER_NOT_AVAILABLE' || Date.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
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
    async asking(topic, ask) {
      let anew = false;
      const since = Date.now();
      for (; ; anew = true) {
        try {
          return await ask(await of(topic, anew));
        } catch (error) {
          // A new topic, too, is known here a moment before it is known there.
          const unknown = protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION';
          const patience = unknown ? NEW_MS : isTransient(error) ? patienceMs : 0;
          if (Date.now() - since >= patience) throw error;
          await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        }
      }
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
