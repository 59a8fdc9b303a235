/**
 * What waits to be sent to one topic, and which of it may go next.
 *
 * On an unordered topic that is simply the oldest. Where a group is ordered, a unit (a key, or a partition with all its
 * keys) is in flight at most once, retries included (S9): otherwise m1 refused, m2 confirmed, m1 sent again inverts.
 */

import type { Outgoing } from '../port.ts';
import type { Topic } from '../topic.ts';
import type { Receipt } from './receipt.ts';

export interface Pending {
  readonly outgoing: Outgoing;
  /** What it was published on, where it may be spilled; undefined for what comes out of a store. */
  readonly topic: Topic | undefined;
  /** Epoch milliseconds. */
  readonly deadline: number;
  readonly bytes: number;
  /** When the deadlines look at it, in epoch milliseconds: at its deadline, or before, while it can still be spilled. */
  dueAt: number;
  /** Whether an attempt may have stored it. */
  maybeStored: boolean;
  /** Surely stored. */
  confirmed: boolean;
  /** Handed to the adapter, which has not answered yet. */
  inFlight: boolean;
  /** Being written to the spill store. */
  writing: boolean;
  /** Counted in the buffer. */
  admitted: boolean;
  /** Takes its abort listener away. */
  forget: (() => void) | undefined;
  /** The caller has its answer (also by deadline or abort). */
  answered: boolean;
  /** Not to be sent any more: answered, or on its way to the spill store. */
  left: boolean;
  /** Stored by the spill store. */
  spilled: boolean;
  lastError: unknown;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: unknown) => void;
}

export interface Limits {
  readonly batchMessages: number;
  readonly batchBytes: number;
}

export interface SendQueue {
  readonly size: number;
  add(pending: Pending): void;
  /** The next batch, or an empty one if nothing may go now. Its units are busy until `release`. */
  take(limits: Limits): Pending[];
  release(batch: readonly Pending[]): void;
}

export function unorderedQueue(): SendQueue {
  let waiting: Pending[] = [];
  return {
    get size() {
      return waiting.length;
    },
    add: (pending) => void waiting.push(pending),
    take(limits) {
      const batch: Pending[] = [];
      let bytes = 0;
      let used = 0;
      for (const pending of waiting) {
        if (batch.length === limits.batchMessages || (batch.length > 0 && bytes + pending.bytes > limits.batchBytes))
          break;
        used += 1;
        if (pending.left) continue;
        batch.push(pending);
        bytes += pending.bytes;
      }
      waiting = used === waiting.length ? [] : waiting.slice(used);
      return batch;
    },
    release: () => undefined,
  };
}

interface Unit {
  readonly waiting: Pending[];
  busy: boolean;
}

export function orderedQueue(exclusive: 'key' | 'partition'): SendQueue {
  const units = new Map<string | number, Unit>();
  // Units with something waiting and nothing in flight, in the order in which they became so.
  const free = new Set<string | number>();
  let size = 0;
  const unitOf = ({ outgoing }: Pending): string | number =>
    exclusive === 'key' ? (outgoing.key ?? '') : (outgoing.partition ?? 0);

  return {
    get size() {
      return size;
    },
    add(pending) {
      const name = unitOf(pending);
      let unit = units.get(name);
      if (unit === undefined) {
        unit = { waiting: [], busy: false };
        units.set(name, unit);
      }
      unit.waiting.push(pending);
      size += 1;
      if (!unit.busy) free.add(name);
    },
    take(limits) {
      const batch: Pending[] = [];
      let bytes = 0;
      for (const name of free) {
        const unit = units.get(name)!;
        const most = exclusive === 'key' ? 1 : limits.batchMessages;
        let taken = 0;
        let used = 0;
        for (const pending of unit.waiting) {
          if (taken === most || batch.length === limits.batchMessages) break;
          if (batch.length > 0 && bytes + pending.bytes > limits.batchBytes) break;
          used += 1;
          if (pending.left) continue;
          taken += 1;
          batch.push(pending);
          bytes += pending.bytes;
        }
        unit.waiting.splice(0, used);
        size -= used;
        if (taken > 0) {
          unit.busy = true;
          free.delete(name);
        } else if (unit.waiting.length === 0) {
          free.delete(name);
          units.delete(name);
        }
        if (batch.length === limits.batchMessages || bytes >= limits.batchBytes) break;
      }
      return batch;
    },
    release(batch) {
      for (const pending of batch) {
        const name = unitOf(pending);
        const unit = units.get(name);
        if (unit === undefined || !unit.busy) continue;
        unit.busy = false;
        if (unit.waiting.length > 0) free.add(name);
        else units.delete(name);
      }
    },
  };
}
