/** One outbox row on its way to the broker, and what that means for the row. */

import { isHoldfastError, textOf } from '../errors.ts';
import type { ClientInternals } from '../internals.ts';
import type { OutboxRow, OutboxShape } from '../port.ts';
import { isOrdered } from '../shape.ts';
import type { Settled } from './flight.ts';

/** A definition is stored once and shared by its rows, so it is parsed once. */
const shapes = new Map<string, OutboxShape | undefined>();

function shapeOf(row: OutboxRow): OutboxShape | undefined {
  if (!shapes.has(row.shape)) shapes.set(row.shape, parsed(row.shape));
  return shapes.get(row.shape);
}

function parsed(text: string): OutboxShape | undefined {
  try {
    const shape = JSON.parse(text) as Partial<OutboxShape> | null;
    return typeof shape?.topic === 'string' && Array.isArray(shape.groups) ? (shape as OutboxShape) : undefined;
  } catch {
    return undefined;
  }
}

/** The key whose rows are published one after the other: those of ordered topics. */
export function chainOf(row: OutboxRow): string | undefined {
  const shape = row.key === undefined ? undefined : shapeOf(row);
  return shape !== undefined && isOrdered(shape) ? `${row.topic}\n${row.key}` : undefined;
}

/** Trying again cannot help: the row is parked with the error as its reason. */
const PARKED: readonly string[] = [
  'unroutable',
  'publish-rejected',
  'message-too-large',
  'topology-conflict',
  'topology-missing',
  'access-refused',
  'unsupported',
];

/** A spilled message's time is its publisher's, a host's like ours; all others are the database's. */
function isExpired({ expiresInMs, addedAt, publishedAt }: OutboxRow, now: number): boolean {
  if (expiresInMs === undefined) return false;
  return publishedAt === undefined ? addedAt + expiresInMs <= now : publishedAt + expiresInMs <= Date.now();
}

/**
 * `now`: epoch milliseconds by the database's clock, which knows when the row was added. Undefined where `signal` has
 * given it up.
 */
export async function publishRow(
  row: OutboxRow,
  inside: ClientInternals,
  timeoutMs: number,
  now: number,
  signal?: AbortSignal,
): Promise<Settled | undefined> {
  const { rowId, shard } = row;
  const shape = shapeOf(row);
  if (shape === undefined)
    return { rowId, shard, kind: 'park', reason: 'bad-shape: its topic definition cannot be read' };
  if (isExpired(row, now)) {
    if (shape.onExpired !== 'drop') return { rowId, shard, kind: 'park', reason: 'expired' };
    inside.emitter.emit('dropped', { topic: row.topic, group: '', id: row.id, reason: 'expired' });
    return { rowId, shard, kind: 'sent' };
  }
  try {
    await inside.publishRow(row, shape, timeoutMs, signal);
    return { rowId, shard, kind: 'sent' };
  } catch (error) {
    if (signal?.aborted) return undefined;
    const code = isHoldfastError(error) ? error.code : 'adapter-failed';
    if (PARKED.includes(code)) {
      return { rowId, shard, kind: 'park', reason: `${code}: ${textOf(error)}`.slice(0, 500) };
    }
    inside.emitter.emit('error', { during: `relay message ${row.id} to "${row.topic}"`, error });
    return {
      rowId,
      shard,
      kind: 'later',
      delayMs: Math.min(2_000, 100 * 2 ** Math.min(row.attempts, 5)),
      reason: code,
    };
  }
}
