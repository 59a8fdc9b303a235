/** Dedupe claims of messages that are being handled: renewed before they run out, all by one call. */

import type { Emitter } from '../events.ts';
import type { DedupeHold, DedupeStore } from '../port.ts';
import type { Work } from './work.ts';

export interface Renewals {
  /** Until the answer is called, which resolves when no renewal of it is under way. Never rejects. */
  keep(hold: DedupeHold, work: Work): () => Promise<void>;
}

interface Kept {
  readonly hold: DedupeHold;
  readonly work: Work;
  renewedAt: number;
}

/** Undefined where the store does not renew. The timer runs only while something is kept. */
export function createRenewals(store: DedupeStore, group: string, emitter: Emitter): Renewals | undefined {
  const { claimMs } = store;
  if (claimMs === undefined || store.renew === undefined) return undefined;
  const kept = new Map<string, Kept>();
  let timer: NodeJS.Timeout | undefined;
  let renewing: Promise<void> | undefined;

  function lost({ work, hold }: Kept): void {
    if (kept.get(hold.key)?.hold === hold) kept.delete(hold.key);
    work.claimLost = true;
    const error = new Error('a claim was taken over while its message was being handled');
    emitter.emit('error', { during: `renew dedupe claims of group "${group}"`, error });
    work.onRevoked?.();
  }

  function look(): void {
    if (renewing !== undefined) return;
    const now = performance.now();
    const olderThan = (ms: number): readonly Kept[] =>
      [...kept.values()].filter(({ renewedAt }) => now - renewedAt >= ms);
    if (olderThan(claimMs! / 3).length === 0) return;
    // What would be due at the next look comes along: from then on they are all due together.
    renewing = renew(olderThan(claimMs! / 6), now).finally(() => {
      renewing = undefined;
    });
  }

  async function renew(due: readonly Kept[], now: number): Promise<void> {
    try {
      const ours = await store.renew!(due.map(({ hold }) => hold));
      for (const [index, each] of due.entries()) {
        if (ours[index] === true) each.renewedAt = now;
        else if (kept.get(each.hold.key) === each) lost(each);
      }
    } catch (error) {
      emitter.emit('error', { during: `renew dedupe claims of group "${group}"`, error });
    }
  }

  return {
    keep(hold, work) {
      const before = kept.get(hold.key);
      // Ours again, for another copy of the message: the first claim must have run out.
      if (before !== undefined) lost(before);
      const mine: Kept = { hold, work, renewedAt: performance.now() };
      kept.set(hold.key, mine);
      timer ??= setInterval(look, Math.max(10, claimMs / 6));
      return async () => {
        if (kept.get(hold.key) === mine) kept.delete(hold.key);
        if (kept.size === 0) {
          clearInterval(timer);
          timer = undefined;
        }
        await renewing;
      };
    },
  };
}
