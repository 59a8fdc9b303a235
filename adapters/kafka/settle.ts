import type { Delivery, Settlement, SettleOutcome, Subscription } from '../../src/port.ts';
import type { Context } from './context.ts';
import { type CopyAnswer, sendCopies } from './copies.ts';
import { copyOf } from './headers.ts';
import { rungFor } from './ladder.ts';
import { deadTopic, retryTopic } from './names.ts';
import type { Item } from './publish.ts';
import { type Entry, finish, requeue } from './share.ts';
import { within } from './within.ts';

const AGAIN_MS = 1_000;

export interface Settler {
  settle(batch: readonly Settlement[]): Promise<readonly SettleOutcome[]>;
  /** Waits for the copies on their way. */
  close(): Promise<void>;
}

export interface SettlerHooks {
  /** The delivery is out no more. */
  ended(entry: Entry, delivery: Delivery): void;
  handOut(): void;
}

type Copied = Extract<Settlement, { kind: 'retry' | 'dead' }>;

/**
 * Done is a note here and a commit within a second: a crash before it hands out again what was finished last. Retry and
 * dead letter are a copy, its confirm, and then done.
 */
export function settler(context: Context, subscription: Subscription, hooks: SettlerHooks): Settler {
  const ladder = retryTopic(subscription.topology.topic, subscription.group);
  const dead = deadTopic(subscription.topology.topic, subscription.group);
  const running = new Set<Promise<unknown>>();
  const timers = new Set<NodeJS.Timeout>();
  const pauses = new Set<() => void>();
  let closing = false;

  const isOurs = ({ delivery }: Settlement): boolean => {
    const entry = delivery.handle as Entry;
    return entry.share.live && entry.delivery === delivery;
  };

  function done({ delivery }: Settlement): void {
    const entry = delivery.handle as Entry;
    finish(entry);
    hooks.ended(entry, delivery);
  }

  /** Here, to ourselves: its partition is ours and nobody else could be given it. */
  function giveBack({ delivery }: Settlement): void {
    const entry = delivery.handle as Entry;
    requeue(entry);
    hooks.ended(entry, delivery);
  }

  async function copy(list: readonly Copied[]): Promise<Map<Settlement, SettleOutcome>> {
    const outcomes = new Map<Settlement, SettleOutcome>();
    let left = list;
    for (;;) {
      await copyOnce(left, outcomes);
      // In an ordered group its key must wait until the copy stands: handed out again it would come behind its successors.
      const failed = left.filter((settlement) => !outcomes.has(settlement));
      if (failed.length === 0) return outcomes;
      await pause(AGAIN_MS);
      left = failed.filter((settlement) => isOurs(settlement) && !closing);
      for (const settlement of failed) if (!left.includes(settlement)) outcomes.set(settlement, 'unknown');
      if (left.length === 0) return outcomes;
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      pauses.add(end);
    });
  }

  /** Leaves those out of `outcomes` that are to be copied again. */
  async function copyOnce(list: readonly Copied[], outcomes: Map<Settlement, SettleOutcome>): Promise<void> {
    const items = list.map((settlement): Item => {
      const { kind, delivery, marks } = settlement;
      const entry = delivery.handle as Entry;
      const origin = { lane: delivery.lane, partition: delivery.shard, at: delivery.position };
      if (kind === 'dead') {
        const record = copyOf(entry.record!, { origin, marks, letterId: letterIdOf(entry, delivery) });
        return { topic: dead, partition: 0, record };
      }
      const waitMs = Math.max(0, Math.ceil(settlement.delayMs));
      return { topic: ladder, partition: rungFor(waitMs), record: copyOf(entry.record!, { origin, marks, waitMs }) };
    });
    const answers = await sendCopies(context, items);
    const kinds = new Set(list.filter((_, index) => answers[index]!.stored === 'yes').map(({ kind }) => kind));
    if (kinds.has('dead')) await context.hooks.crashPoint?.('dead:copy-confirmed');
    if (kinds.has('retry')) await context.hooks.crashPoint?.('settle:copy-confirmed');
    for (const [index, settlement] of list.entries()) {
      const outcome = copied(settlement, answers[index]!);
      if (outcome !== 'again') outcomes.set(settlement, outcome);
    }
  }

  function copied(settlement: Copied, answer: CopyAnswer): SettleOutcome | 'again' {
    if (!isOurs(settlement)) return 'unknown';
    if (answer.stored === 'yes') {
      done(settlement);
      return 'settled';
    }
    const { delivery } = settlement;
    const entry = delivery.handle as Entry;
    context.hooks.emit({
      type: 'warning',
      code: 'copy-failed',
      detail: `${settlement.kind} of ${delivery.position}: ${String(answer.error)}`,
    });
    if (subscription.ordered) return 'again';
    // Not at once: what failed now would fail again. Until then it counts as handed out.
    entry.delivery = undefined;
    const timer = setTimeout(() => {
      timers.delete(timer);
      hooks.ended(entry, delivery);
      if (!entry.share.live) return;
      requeue(entry);
      hooks.handOut();
    }, AGAIN_MS);
    timers.add(timer);
    return 'unknown';
  }

  async function settle(batch: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const moved: Copied[] = [];
    const outcomes = batch.map((settlement): SettleOutcome => {
      if (!isOurs(settlement)) return 'stale';
      if (settlement.kind === 'retry' || settlement.kind === 'dead') moved.push(settlement);
      else if (settlement.kind === 'done') done(settlement);
      else giveBack(settlement);
      return 'settled';
    });
    if (moved.length > 0) {
      const work = copy(moved);
      running.add(work);
      try {
        const results = await work;
        for (const [i, settlement] of batch.entries()) outcomes[i] = results.get(settlement) ?? outcomes[i]!;
      } finally {
        running.delete(work);
      }
    }
    hooks.handOut();
    return outcomes;
  }

  return {
    settle,
    async close() {
      closing = true;
      for (const timer of timers) clearTimeout(timer);
      for (const end of [...pauses]) end();
      await within(Promise.allSettled(running), context.settings.requestTimeoutMs);
    },
  };
}

/**
 * By the record that died, so that a crash before it is settled repeats the letter instead of adding one. A replayed
 * message stands elsewhere than its original: if it dies before its old letter is removed, the removal must not hit the new one.
 */
function letterIdOf({ share, offset }: Entry, { position }: Delivery): string {
  return share.rung === undefined ? position : `${position}+${share.partition}/${offset}`;
}
