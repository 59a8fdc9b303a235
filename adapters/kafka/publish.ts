import type { Outgoing, PublishOutcome } from '../../src/port.ts';
import type { BatchAnswer, NewRecord, PartitionBatch } from './client.ts';
import type { Context } from './context.ts';
import { adapterError, notSent } from './errors.ts';
import { delayed, sizeOf, toCloudEvent, toRecord } from './headers.ts';
import { rungFor } from './ladder.ts';
import { delayTopic, laneTopic } from './names.ts';

/** Room for what a batch and a request add to their records. */
const OVERHEAD_BYTES = 512;
/** A batch is also a request, and brokers refuse requests of 100 MiB: far below that whatever the topic allows. */
const MOST_BATCH_BYTES = 8 * 1024 * 1024;

/** A record and where it goes. */
export interface Item {
  readonly topic: string;
  readonly partition: number;
  readonly record: NewRecord;
}

/** What goes to one partition in one batch. */
export interface Chunk<T extends Item> {
  readonly topic: string;
  readonly partition: number;
  readonly items: T[];
}

/** By partition, in order, each chunk within its topic's batch size. */
export function chunks<T extends Item>(items: readonly T[], batchBytes: (topic: string) => number): Chunk<T>[] {
  const result: Chunk<T>[] = [];
  const open = new Map<string, { chunk: Chunk<T>; room: number }>();
  for (const item of items) {
    const { topic, partition, record } = item;
    const size = sizeOf(record);
    const name = `${topic}/${partition}`;
    let last = open.get(name);
    if (last === undefined || last.room < size) {
      const most = Math.min(batchBytes(topic), MOST_BATCH_BYTES) - OVERHEAD_BYTES;
      last = { chunk: { topic, partition, items: [] }, room: most };
      open.set(name, last);
      result.push(last.chunk);
    }
    last.chunk.items.push(item);
    last.room -= size;
  }
  return result;
}

/** Publishes batch after batch; messages without a key go to one partition per call, the next one each time. */
export function publisher(
  context: Context,
): (batch: readonly Outgoing[], deadline: number) => Promise<PublishOutcome[]> {
  const next = new Map<string, number>();
  const write = context.settings.wire === 'lean' ? toRecord : toCloudEvent;

  function target(message: Outgoing, chosen: Map<string, number>): Item {
    const { topic, partitions } = message.topology;
    const lane = laneTopic(topic, message.lane);
    const partition = message.partition ?? chosen.get(lane) ?? choose(lane, partitions, chosen);
    const record = write(message);
    if (message.delayMs <= 0) return { topic: lane, partition, record };
    const waitMs = Math.ceil(message.delayMs);
    return {
      topic: delayTopic(topic),
      partition: rungFor(waitMs),
      record: delayed(record, partition, message.lane, waitMs),
    };
  }

  function choose(lane: string, partitions: number, chosen: Map<string, number>): number {
    const partition = next.get(lane) ?? Math.floor(Math.random() * partitions);
    next.set(lane, (partition + 1) % partitions);
    chosen.set(lane, partition);
    return partition;
  }

  return async (batch, deadline) => {
    const outcomes: PublishOutcome[] = [];
    const items: (Item & { index: number })[] = [];
    const chosen = new Map<string, number>();
    /** Why a topic has no ladder: that concerns its delayed messages alone. */
    const refused = new Map<string, PublishOutcome>();
    for (const { topology, delayMs } of batch) {
      if (delayMs <= 0 || refused.has(topology.topic)) continue;
      const refuse = (error: unknown): void => void refused.set(topology.topic, { kind: 'rejected', error });
      await context.topology.declareDelays(topology).catch(refuse);
    }
    for (const [index, message] of batch.entries()) {
      const refusal = message.delayMs > 0 ? refused.get(message.topology.topic) : undefined;
      if (refusal !== undefined) {
        outcomes[index] = refusal;
        continue;
      }
      const item = target(message, chosen);
      const most = context.topology.batchBytes(item.topic) - OVERHEAD_BYTES;
      if (message.body.length > most) outcomes[index] = { kind: 'rejected', error: tooLarge(message, most) };
      else items.push({ ...item, index });
    }
    // Chunks of one partition go one after the other; of those behind one that failed none may overtake it.
    const waves: Chunk<Item & { index: number }>[][] = [];
    const depth = new Map<string, number>();
    for (const chunk of chunks(items, context.topology.batchBytes)) {
      const name = `${chunk.topic}/${chunk.partition}`;
      const wave = depth.get(name) ?? 0;
      depth.set(name, wave + 1);
      waves[wave] ??= [];
      waves[wave].push(chunk);
    }
    const stuck = new Set<string>();
    for (const wave of waves) {
      const free = wave.filter(({ topic, partition }) => !stuck.has(`${topic}/${partition}`));
      for (const chunk of wave)
        if (!free.includes(chunk)) fill(outcomes, chunk, () => ({ kind: 'rejected', error: behind() }));
      const batches: PartitionBatch[] = free.map(({ topic, partition, items }) => ({
        topic,
        partition,
        records: items.map(({ record }) => record),
      }));
      const answers = await context.sender.send(batches, deadline);
      for (const [i, chunk] of free.entries()) {
        const answer = answers[i]!;
        if (answer.stored !== 'yes') stuck.add(`${chunk.topic}/${chunk.partition}`);
        fill(outcomes, chunk, (at) => outcomeOf(answer, chunk, at));
      }
    }
    return outcomes;
  };
}

function fill(
  outcomes: PublishOutcome[],
  chunk: Chunk<Item & { index: number }>,
  outcome: (at: number) => PublishOutcome,
): void {
  for (const [at, { index }] of chunk.items.entries()) outcomes[index] = outcome(at);
}

function outcomeOf(answer: BatchAnswer, { topic, partition }: Chunk<Item>, at: number): PublishOutcome {
  if (answer.stored === 'yes') return { kind: 'confirmed', position: `${topic}/${partition}/${answer.offset + at}` };
  return { kind: answer.stored === 'no' ? 'rejected' : 'unknown', error: answer.error };
}

const behind = (): Error => notSent('an earlier batch to the same partition was not stored');

function tooLarge(message: Outgoing, most: number): Error {
  const topic = message.topology.topic;
  return adapterError(
    'message-too-large',
    `message of ${message.body.length} bytes to "${topic}", whose batches are limited to ${most}`,
  );
}
