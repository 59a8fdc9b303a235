import type { BatchAnswer, KafkaProducer, PartitionBatch } from '../client.ts';
import { within } from '../within.ts';
import type { RawBroker, RawCluster } from './cluster.ts';
import { isFencing, isMisrouted, isTransient, isUndecided, protocolType } from './errors.ts';
import { nodeOf } from './leaders.ts';
import type { Sockets } from './sockets.ts';

const CLOSE_MS = 1_000;
const ACKS_ALL = -1;
const SEQUENCES = 2 ** 31;
/** For a leader that has moved, or leads since just now. */
const MISROUTED_PAUSES_MS = [50, 100, 250] as const;

/** For a broker that has just started and still loads its state. */
const LOADING_PAUSES_MS = [50, 100, 200, 400, 800, 1_600] as const;

export interface ProducerParts {
  readonly cluster: RawCluster;
  readonly sockets: Sockets;
  readonly requestTimeoutMs: number;
  /** The node that leads a partition; `anew` where what was known proved wrong. */
  leaderOf(batch: PartitionBatch, anew: boolean): Promise<number>;
}

/**
 * An idempotent producer on kafkajs's single requests, one per partition, all in flight together.
 *
 * kafkajs's own producer would not do: it answers a request to several partitions by one error, whatever the broker said
 * of each; tries again by itself, also after `disconnect`; lets one request wait for another; and rolls its sequence
 * numbers back after any error. If the batch was stored all the same, the broker takes the next one for a repetition,
 * confirms it and drops it. Here a sequence number moves on when its batch is known to be stored, and not before.
 */
export async function kafkajsProducer(parts: ProducerParts): Promise<KafkaProducer> {
  const { cluster, sockets } = parts;
  let identity: { readonly producerId: string; readonly producerEpoch: number };
  try {
    await cluster.connect();
    await cluster.refreshMetadata();
    identity = await newIdentity(cluster);
  } catch (error) {
    sockets.kill();
    throw error;
  }
  const sequences = new Map<string, number>();

  async function sendOne(batch: PartitionBatch): Promise<BatchAnswer> {
    for (const [turn, pauseMs] of [...MISROUTED_PAUSES_MS, undefined].entries()) {
      const answer = await attempt(batch, turn > 0);
      const misrouted = answer.stored === 'no' && isMisrouted(protocolType(answer.error));
      if (!misrouted || pauseMs === undefined) return answer;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    throw new Error('unreachable');
  }

  async function attempt(batch: PartitionBatch, anew: boolean): Promise<BatchAnswer> {
    const { topic, partition, records } = batch;
    const name = `${topic}/${partition}`;
    const sequence = sequences.get(name) ?? 0;
    let written: number | undefined;
    try {
      const broker = await nodeOf(cluster, await parts.leaderOf(batch, anew));
      written = sockets.produced();
      const { topics } = await broker.produce({
        ...identity,
        acks: ACKS_ALL,
        // The broker gives up waiting for its replicas before we give up waiting for the broker: a clear answer.
        timeout: Math.floor(parts.requestTimeoutMs * 0.8),
        topicData: [{ topic, partitions: [{ partition, firstSequence: sequence, messages: records }] }],
      });
      const stored = topics[0]?.partitions[0];
      sequences.set(name, (sequence + records.length) % SEQUENCES);
      const appendedAt = Number(stored?.logAppendTime ?? -1);
      return { stored: 'yes', offset: Number(stored?.baseOffset), appendedAt: appendedAt < 0 ? undefined : appendedAt };
    } catch (error) {
      const type = protocolType(error);
      // Until the request was made, an error speaks of something else: metadata, a login.
      if (written === undefined) return { stored: 'no', error };
      if (type !== undefined && isFencing(type)) return { stored: 'maybe', error, fenced: true };
      if (type !== undefined && !isUndecided(type)) return { stored: 'no', error };
      return { stored: sockets.produced() > written ? 'maybe' : 'no', error };
    }
  }

  return {
    send: (batches) => Promise.all(batches.map(sendOne)),
    kill: sockets.kill,
    async close() {
      await within(
        cluster.disconnect().catch(() => {}),
        CLOSE_MS,
      );
      sockets.kill();
    },
  };
}

async function newIdentity(cluster: RawCluster): ReturnType<RawBroker['initProducerId']> {
  for (const pauseMs of LOADING_PAUSES_MS) {
    try {
      return await (await cluster.brokerPool.findConnectedBroker()).initProducerId({});
    } catch (error) {
      if (protocolType(error) === undefined || !isTransient(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
  return await (await cluster.brokerPool.findConnectedBroker()).initProducerId({});
}
