import type { Kafka, Producer, TopicMessages } from 'kafkajs';
import type { BatchAnswer, KafkaProducer, PartitionBatch } from '../client.ts';
import { isFencing, isPermanent, isUndecided, protocolType } from './errors.ts';
import type { Sockets } from './sockets.ts';

const CLOSE_MS = 1_000;

export interface ProducerParts {
  readonly kafka: Kafka;
  readonly sockets: Sockets;
  readonly requestTimeoutMs: number;
  /** The node that leads a partition, as far as known. */
  leaderOf(batch: PartitionBatch): number | undefined;
}

/**
 * A connected idempotent producer.
 *
 * kafkajs answers one request to several partitions by one error, whatever the broker said of each. So a request that
 * failed is sent again partition by partition: what was stored is recognised by its sequence numbers and answered as such,
 * what was not shows its own error. Sequence numbers are rolled back by kafkajs after any error, stored or not; after
 * an answer of `maybe` that is not resolved by sending the same batch again, the producer must therefore be given up,
 * or the broker takes the next batch for the last one and drops it.
 */
export async function kafkajsProducer(parts: ProducerParts): Promise<KafkaProducer> {
  const { kafka, sockets } = parts;
  const producer = kafka.producer({
    idempotent: true,
    allowAutoTopicCreation: false,
    // Only kafkajs's own partitioners look at the partition that a message names.
    createPartitioner:
      () =>
      ({ message }) =>
        message.partition!,
  });
  try {
    await producer.connect();
  } catch (error) {
    sockets.kill();
    throw error;
  }

  async function send(batches: readonly PartitionBatch[]): Promise<readonly BatchAnswer[]> {
    const byLeader = Map.groupBy(batches.keys(), (index) => parts.leaderOf(batches[index]!) ?? -1);
    const answers: BatchAnswer[] = [];
    await Promise.all(
      [...byLeader.values()].map(async (indexes) => {
        const given = await sendTogether(indexes.map((index) => batches[index]!));
        for (const [i, index] of indexes.entries()) answers[index] = given[i]!;
      }),
    );
    return answers;
  }

  async function sendTogether(batches: readonly PartitionBatch[]): Promise<readonly BatchAnswer[]> {
    const before = sockets.produced();
    try {
      const stored = await producer.sendBatch(requestOf(batches, parts.requestTimeoutMs));
      return batches.map(({ topic, partition }) => {
        const entry = stored.find((one) => one.topicName === topic && one.partition === partition);
        if (entry?.baseOffset === undefined)
          return { stored: 'maybe', error: new Error('the broker did not say where') };
        const appendedAt = Number(entry.logAppendTime ?? -1);
        return { stored: 'yes', offset: Number(entry.baseOffset), appendedAt: appendedAt < 0 ? undefined : appendedAt };
      });
    } catch (error) {
      const type = protocolType(error);
      if (batches.length > 1 && type !== undefined) return await oneByOne(batches);
      return batches.map(() => failure(error, type, sockets.produced() - before));
    }
  }

  async function oneByOne(batches: readonly PartitionBatch[]): Promise<readonly BatchAnswer[]> {
    const answers: BatchAnswer[] = [];
    for (const batch of batches) answers.push(...(await sendTogether([batch])));
    return answers;
  }

  return {
    send,
    kill: sockets.kill,
    async close() {
      await Promise.race([disconnect(producer), new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
      sockets.kill();
    },
  };
}

/** `written`: Produce requests that left meanwhile, of this call or, to be careful, of another. */
function failure(error: unknown, type: string | undefined, written: number): BatchAnswer {
  if (type !== undefined && isFencing(type)) return { stored: 'maybe', error, fenced: true };
  if (type !== undefined && isPermanent(type)) return { stored: 'no', error };
  // kafkajs tries again by itself: an earlier try, whose answer was lost, may have been stored.
  if (type !== undefined && !isUndecided(type) && written <= 1) return { stored: 'no', error };
  return { stored: written > 0 ? 'maybe' : 'no', error };
}

function requestOf(batches: readonly PartitionBatch[], requestTimeoutMs: number) {
  const byTopic = Map.groupBy(batches, (batch) => batch.topic);
  const topicMessages: TopicMessages[] = [...byTopic].map(([topic, group]) => ({
    topic,
    messages: group.flatMap(({ partition, records }) =>
      records.map(({ key, value, headers, timestamp }) => ({
        partition,
        key,
        value,
        headers: headers as Record<string, string | Buffer>,
        ...(timestamp === undefined ? {} : { timestamp: String(timestamp) }),
      })),
    ),
  }));
  // The broker gives up waiting for its replicas before we give up waiting for the broker: a clear answer.
  return { acks: -1, timeout: Math.floor(requestTimeoutMs * 0.8), topicMessages };
}

async function disconnect(producer: Producer): Promise<void> {
  try {
    await producer.disconnect();
  } catch {
    // Its sockets are destroyed right after.
  }
}
