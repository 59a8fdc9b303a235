/** S22: how much of an ordered group waits in memory behind keys that are being retried. */

import type { Schedule } from './order.ts';
import type { Work } from './work.ts';

export interface HeldKeys {
  /** Its key waits for the message's next attempt, until `remove`. */
  add(work: Work): void;
  remove(work: Work): void;
  /** Looks again: more may have come behind a held key, or some may be lost. */
  look(): void;
  /** Which shards stand still, for people; undefined if none does. */
  readonly detail: string | undefined;
}

export interface FullShard {
  readonly shard: number;
  readonly count: number;
}

/**
 * Tells once whenever a shard's lane holds `most` messages that wait behind held keys, or are held themselves. As no more
 * than that are delivered of it unsettled, it stands still until one of the keys goes on.
 */
export function heldKeys(most: number, schedule: Schedule, onFull: (full: FullShard) => void): HeldKeys {
  const held = new Set<Work>();
  let full = new Map<string, FullShard>();

  function look(): void {
    if (held.size === 0 && full.size === 0) return;
    const counts = new Map<string, FullShard>();
    for (const work of held) {
      const { lane, shard } = work.delivery;
      const name = `${shard} ${lane}`;
      // One that was lost holds its key all the same, until its time: it waits behind itself when it has come again.
      const waiting = schedule.behind(work) + (work.revoked ? 0 : 1);
      counts.set(name, { shard, count: (counts.get(name)?.count ?? 0) + waiting });
    }
    const before = full;
    full = new Map([...counts].filter(([, { count }]) => count >= most));
    for (const [name, shard] of full) if (!before.has(name)) onFull(shard);
  }

  return {
    add(work) {
      held.add(work);
      look();
    },
    remove(work) {
      held.delete(work);
      look();
    },
    look,
    get detail() {
      if (full.size === 0) return undefined;
      return [...full.values()]
        .map(
          ({ shard, count }) =>
            `shard ${shard} stands still: ${count} messages wait behind keys that are being retried`,
        )
        .join('; ');
    },
  };
}
