import { type Context, copyDeadline } from './context.ts';
import { sendCopies } from './copies.ts';
import type { Group } from './group.ts';
import { copyOf, originOf } from './headers.ts';
import { ripeness, rungFor } from './ladder.ts';
import { type Entry, finish, insert, type Share } from './share.ts';

const PROBE = 'hf-k-probe';
const AGAIN_MS = 1_000;
const LONGEST_TIMER_MS = 60_000;

/** The rungs of one ladder that are ours: what is due becomes ready, what has longer to wait goes down a rung. */
export interface Resting {
  look(share: Share): void;
  close(): void;
}

export function watchRungs(
  context: Context,
  topic: string,
  group: () => Group | undefined,
  ready: (share: Share) => void,
): Resting {
  const { clock, sender, hooks } = context;
  const timers = new Map<Share, NodeJS.Timeout>();
  let probing = false;
  let closed = false;

  function again(share: Share, ms: number): void {
    clearTimeout(timers.get(share));
    if (closed || !share.live) {
      timers.delete(share);
      return;
    }
    timers.set(
      share,
      setTimeout(() => look(share), Math.min(Math.max(ms, 1), LONGEST_TIMER_MS)),
    );
  }

  function look(share: Share): void {
    if (closed || !share.live || share.rung === undefined) return;
    const hops: { entry: Entry; waitMs: number }[] = [];
    let anyReady = false;
    while (share.resting.length > 0) {
      const entry = share.resting[0]!;
      if (entry.record!.headers[PROBE] !== undefined) {
        share.resting.shift();
        finish(entry);
        continue;
      }
      if (originOf(entry.record!).waitMs > 0 && !clock.sure()) {
        probe(share);
        break;
      }
      const state = ripeness(entry.record!, share.rung, clock.now());
      if (state.kind === 'resting') {
        again(share, state.until - clock.now());
        break;
      }
      share.resting.shift();
      if (state.kind === 'due') {
        share.queue.push(entry);
        anyReady = true;
      } else hops.push({ entry, waitMs: state.waitMs });
    }
    if (hops.length > 0) hop(share, hops);
    group()?.relieve(share);
    if (anyReady) ready(share);
  }

  async function hop(share: Share, hops: readonly { entry: Entry; waitMs: number }[]): Promise<void> {
    const items = hops.map(({ entry, waitMs }) => {
      const origin = originOf(entry.record!);
      const at = origin.at || undefined;
      const record = copyOf(entry.record!, { origin: { ...origin, at }, marks: undefined, waitMs: Math.ceil(waitMs) });
      return { topic, partition: rungFor(waitMs), record };
    });
    const answers = await sendCopies(context, items);
    await hooks.crashPoint?.('ladder:hopped');
    let failed = false;
    for (const [index, { entry }] of hops.entries()) {
      if (answers[index]!.stored === 'yes') finish(entry);
      else {
        insert(share.resting, entry);
        failed = true;
      }
    }
    group()?.relieve(share);
    if (failed) again(share, AGAIN_MS);
  }

  /** Asks the broker for its time by appending a record that says nothing. */
  async function probe(share: Share): Promise<void> {
    if (probing) return again(share, AGAIN_MS / 4);
    probing = true;
    const headers = Object.assign(Object.create(null) as Record<string, string>, { [PROBE]: '1' });
    const record = { key: null, value: Buffer.alloc(0), headers };
    const [answer] = await sender.send([{ topic, partition: 0, records: [record] }], copyDeadline(context));
    probing = false;
    if (answer?.stored !== 'yes') return again(share, AGAIN_MS);
    // A topic whose stamps are its producers' cannot tell the time: ours must do.
    if (answer.appendedAt === undefined) clock.observe(Date.now(), true);
    look(share);
  }

  return {
    look,
    close() {
      closed = true;
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
    },
  };
}
