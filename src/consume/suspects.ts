/**
 * A message may kill the process that handles it. So what was being handled when a process died is handled alone, one at
 * a time, and each of its calls is counted on the broker before it begins (S18). Nothing here is on the way of others.
 */

import type { Priority, SettleOutcome } from '../port.ts';
import { NotEntered } from './breaker.ts';
import type { ProcessContext } from './context.ts';
import { type Fifo, fifo } from './fifo.ts';
import { byLane, type Lanes } from './lanes.ts';
import { begunMarks, retryMarks } from './marks.ts';
import type { Work } from './work.ts';

/** How long a copy is waited for before the next is sent: those counted ahead should be called one by one, too. */
const COPY_MS = 1_000;
/** Until the original of a copy is surely settled: a call that kills the process at once would leave both. */
const SETTLED_MS = 100;
/** What an ordered group on a broker without marks allows beyond its attempts: the broker counts give-backs as well. */
const DELIVERIES_BEYOND = 100;

/** Suspects that wait for their turn. At most one runs, so that whatever lane it is of, the others go on beside it. */
export interface Suspects {
  add(work: Work): void;
  /** Whether one that is counted ahead would have to wait behind another: it should go back uncounted instead. */
  crowded(work: Work): boolean;
  /** One that is counted ahead and may run now: it goes before all else, for it is counted whatever becomes of it. */
  ahead(now: number): Work | undefined;
  /** Whether one of this lane may run now. */
  has(lane: Priority, now: number): boolean;
  next(lane: Priority, now: number): Work | undefined;
  /** Milliseconds until one may run; undefined while one runs, or none waits. */
  waitMs(now: number): number | undefined;
  /** The one that ran is through. */
  end(work: Work, now: number): void;
  drop(matches: (work: Work) => boolean): void;
}

/** Whether its next call is counted on the broker already. */
export const countedAhead = (work: Work): boolean => work.counted > work.attempts;

export function createSuspects(): Suspects {
  const waiting: Lanes<Fifo<Work>> = byLane(() => fifo<Work>());
  const counted: Fifo<Work> = fifo();
  let running: Work | undefined;
  let notBefore = 0;
  let settledAt = 0;

  const free = (now: number): boolean => running === undefined && now >= notBefore;
  const none = (): boolean => Object.values(waiting).every(({ size }) => size === 0) && counted.size === 0;
  function run(work: Work | undefined): Work | undefined {
    running = work;
    return work;
  }

  return {
    add(work) {
      if (!countedAhead(work)) return waiting[work.delivery.lane].push(work);
      notBefore = settledAt;
      counted.unshift(work);
    },
    crowded: (work) => countedAhead(work) && (counted.size > 0 || (running !== undefined && !running.copied)),
    ahead: (now) => (free(now) ? run(counted.shift()) : undefined),
    has: (lane, now) => free(now) && waiting[lane].size > 0,
    next: (lane, now) => (free(now) ? run(waiting[lane].shift()) : undefined),
    waitMs: (now) => (running !== undefined || none() ? undefined : Math.max(0, notBefore - now)),
    end(work, now) {
      if (running !== work) return;
      running = undefined;
      if (!work.copied) return;
      settledAt = now + SETTLED_MS;
      notBefore = counted.size > 0 ? settledAt : now + COPY_MS;
    },
    drop(matches) {
      counted.remove(matches);
      for (const lane of Object.values(waiting)) lane.remove(matches);
    },
  };
}

export type Begun =
  /** Counted, as far as this broker allows: call the handler. */
  | 'counted'
  /** A copy that counts the call comes round; this one is settled. */
  | 'copied'
  | 'exhausted'
  /** Not counted: not to be called now. */
  | 'uncounted';

/** Counts a suspect's next call before it begins. */
export async function begin(work: Work, context: ProcessContext): Promise<Begun> {
  const { plan, ordered, settler, crashPoint } = context;
  const { delivery } = work;
  if (countedAhead(work)) return 'counted';
  const most = plan.retry.maxAttempts;
  if (work.attempts >= most) return 'exhausted';
  const outcome = await countAhead(work, context);
  if (outcome === undefined && !ordered) {
    work.copied = true;
    await settler.settle({ kind: 'retry', delivery, delayMs: 0, marks: begunMarks(work, Date.now()) });
    return 'copied';
  }
  if (outcome === undefined && (delivery.deliveries ?? 0) > most + DELIVERIES_BEYOND) return 'exhausted';
  if (outcome !== undefined && outcome !== 'settled') return 'uncounted';
  await crashPoint?.('consume:begun');
  return 'counted';
}

/** In place, so that the delivery stays ours; undefined where the broker cannot. */
export async function countAhead(work: Work, { mark }: ProcessContext): Promise<SettleOutcome | undefined> {
  if (countedAhead(work)) return 'settled';
  const outcome = await mark(work.delivery, retryMarks({ ...work, attempts: work.attempts + 1 }, Date.now()));
  if (outcome === 'settled') work.counted = work.attempts + 1;
  return outcome;
}

/** An immediate retry of a suspect is counted like its first call: in place, else it goes round by a copy that counts it. */
export async function countRetry(work: Work, context: ProcessContext): Promise<void> {
  const outcome = await countAhead(work, context);
  if (outcome === undefined && !context.ordered) throw new NotEntered(0);
  if (outcome !== undefined && outcome !== 'settled') throw new NotEntered(1_000);
}
