/** Messages on their way into the spill store: many by one transaction, one transaction at a time, never more than it may hold. */

import type { SpillEntry, SpillState, SpillStore } from '../port.ts';
import { isUnsure } from '../publish/publish-errors.ts';
import type { Pending } from '../publish/queue.ts';
import type { Topic } from '../topic.ts';
import { shapeTextOf, shardOf } from './entry.ts';

export interface SpillWriterOptions {
  readonly store: SpillStore;
  readonly maxBytes: number;
  /** What the store holds already. */
  readonly heldBytes: number;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  /** They are durable, each under its row id. */
  stored(batch: readonly Pending[], rowIds: readonly string[]): void;
  /** They are not, or nobody knows. */
  failed(batch: readonly Pending[], error: unknown): void;
  /** Answered before its turn came: not stored. */
  passed(pending: Pending): void;
}

export interface SpillWriter {
  /** False where it does not fit. */
  add(pending: Pending): boolean;
  /** What is in the store now, between two writes; from then on it counts. */
  measure(): Promise<SpillState>;
}

const MOST_MESSAGES = 500;
const MOST_BYTES = 4 * 1024 * 1024;

export function createSpillWriter(options: SpillWriterOptions): SpillWriter {
  const { store, maxBytes, crashPoint, stored, failed, passed } = options;
  let waiting: Pending[] = [];
  /** In the store, as far as we know: by the last measure, and what we have added since. */
  let used = options.heldBytes;
  /** On its way there. */
  let reserved = 0;
  let writing = false;
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn<T>(step: () => Promise<T>): Promise<T> {
    const done = turn.then(step);
    turn = done.catch(() => undefined);
    return done;
  }

  function take(): Pending[] {
    const batch: Pending[] = [];
    let bytes = 0;
    let seen = 0;
    for (const pending of waiting) {
      const size = sizeOf(pending);
      if (batch.length === MOST_MESSAGES || (batch.length > 0 && bytes + size > MOST_BYTES)) break;
      seen += 1;
      if (pending.answered) {
        reserved -= size;
        passed(pending);
        continue;
      }
      pending.writing = true;
      bytes += size;
      batch.push(pending);
    }
    waiting = waiting.slice(seen);
    return batch;
  }

  async function write(): Promise<void> {
    const batch = take();
    if (batch.length === 0) return;
    const bytes = batch.reduce((sum, pending) => sum + sizeOf(pending), 0);
    let rowIds: readonly string[];
    try {
      await crashPoint?.('spill:storing');
      rowIds = await store.add(batch.map(entryOf));
      await crashPoint?.('spill:stored');
    } catch (error) {
      reserved -= bytes;
      // What may be there counts, until the next measure.
      if (isUnsure(error)) used += bytes;
      for (const pending of batch) pending.writing = false;
      failed(batch, error);
      return;
    }
    reserved -= bytes;
    used += bytes;
    for (const pending of batch) pending.writing = false;
    stored(batch, rowIds);
  }

  async function writeAll(): Promise<void> {
    while (waiting.length > 0) await inTurn(write);
    writing = false;
  }

  return {
    add(pending) {
      const size = sizeOf(pending);
      if (used + reserved + size > maxBytes) return false;
      reserved += size;
      waiting.push(pending);
      if (!writing) {
        writing = true;
        // What is spilled in one tick shares a transaction.
        queueMicrotask(() => void writeAll());
      }
      return true;
    },
    measure: () =>
      inTurn(async () => {
        const state = await store.state();
        used = state.bytes;
        return state;
      }),
  };
}

function sizeOf({ bytes, outgoing: { headers } }: Pending): number {
  let size = bytes;
  for (const name in headers) size += name.length + headers[name]!.length;
  return size;
}

function entryOf(pending: Pending): SpillEntry {
  const { outgoing } = pending;
  const { publishedAt, expiresAt, key, id } = outgoing;
  return {
    id,
    key,
    topic: outgoing.topology.topic,
    source: outgoing.source,
    shard: shardOf(key, id),
    // Only what was published on a topic is ever spilled.
    shape: shapeTextOf(pending.topic as Topic),
    dedupeKey: outgoing.dedupeKey,
    lane: outgoing.lane,
    headers: outgoing.headers,
    contentType: outgoing.contentType,
    body: outgoing.body,
    delayMs: Math.max(0, outgoing.delayMs - (Date.now() - publishedAt)),
    expiresInMs: expiresAt === undefined ? undefined : expiresAt - publishedAt,
    publishedAt,
    bytes: sizeOf(pending),
  };
}
