/** Which message runs when: a free slot takes what order, lanes, suspects, the breaker and the rate allow. */

import type { Rate } from '../policy/rate.ts';
import type { Priority } from '../port.ts';
import type { ConsumerBreaker } from './breaker.ts';
import type { Runner } from './context.ts';
import { type Fifo, fifo } from './fifo.ts';
import { byLane, type Lanes, lanePicker } from './lanes.ts';
import type { ConsumePlan } from './options.ts';
import { orderedSchedule, type Schedule, unorderedSchedule } from './order.ts';
import { createSuspects } from './suspects.ts';
import type { Work } from './work.ts';

export interface Dispatch {
  /** Runs in progress, each of one message or one batch. */
  readonly running: number;
  /** A half-open breaker has nothing here to probe with. */
  readonly hungry: boolean;
  readonly schedule: Schedule;
  /** False where it should go back instead: a suspect that would have to wait behind another. */
  add(work: Work): boolean;
  /** Its delay is over: it goes before what has not begun in its lane. */
  addDue(work: Work): void;
  /** Forgets what waits and is lost, and frees its key. */
  dropRevoked(): void;
  /** Starts whatever may start now. */
  pump(): void;
  /** The breaker has changed. */
  reset(): void;
  /** Resolves when nothing runs. */
  idle(): Promise<void>;
  close(): void;
}

export interface DispatchSetup {
  readonly plan: ConsumePlan;
  readonly ordered: boolean;
  readonly runner: Pick<Runner, 'batchSize' | 'batchWaitMs'>;
  readonly breaker: ConsumerBreaker | undefined;
  readonly rate: Rate;
  /** Whether anything may start: neither paused nor closing. */
  readonly open: () => boolean;
  /** Never rejects. */
  readonly run: (batch: readonly Work[]) => Promise<void>;
  /** Called when `hungry` has become true. */
  readonly fetch: () => void;
}

export function createDispatch({ plan, ordered, runner, breaker, rate, open, run, fetch }: DispatchSetup): Dispatch {
  const schedule = ordered ? orderedSchedule() : unorderedSchedule();
  const due: Lanes<Fifo<Work>> = byLane(() => fifo<Work>());
  const suspects = createSuspects();
  // One for all that may run, so that a lane has its share (G6) whatever its messages are: new, retried, redelivered.
  const pick = lanePicker(plan.laneWeights);
  let hungry = false;
  let running = 0;
  let firstWaitingAt = 0;
  let wakeTimer: NodeJS.Timeout | undefined;
  let wakeAt = 0;
  let idle: (() => void) | undefined;

  function slots(): number {
    if (breaker === undefined || breaker.state === 'closed') return plan.concurrency;
    return breaker.state === 'open' ? 0 : 1;
  }

  function pump(): void {
    fill();
    if (breaker?.state !== 'half-open' || running > 0 || hungry || !open()) return;
    hungry = true;
    fetch();
  }

  function fill(): void {
    while (open() && running < slots()) {
      const suspectMs = suspects.waitMs(performance.now());
      if (suspectMs !== undefined && suspectMs > 0) wakeIn(suspectMs);
      const waitMs = suspectMs === 0 ? untilRate() : waiting() > 0 ? untilStart() : undefined;
      if (waitMs === undefined) return;
      if (waitMs > 0) {
        wakeIn(waitMs);
        return;
      }
      const batch = take();
      if (batch.length === 0) {
        if (breaker !== undefined && breaker.freshMs > 0) wakeIn(breaker.freshMs);
        return;
      }
      rate.take(performance.now());
      firstWaitingAt = performance.now();
      start(batch);
    }
  }

  const waiting = (): number => schedule.waiting + due.high.size + due.normal.size + due.low.size;

  /** 0 when a run may start now, else how long to wait for the rate or for the batch to fill. */
  function untilStart(): number {
    if (runner.batchWaitMs > 0 && waiting() < runner.batchSize) {
      const fillMs = firstWaitingAt + runner.batchWaitMs - performance.now();
      if (fillMs > 0) return fillMs;
    }
    return untilRate();
  }

  function untilRate(): number {
    return rate.waitMs(performance.now());
  }

  function wakeIn(ms: number): void {
    const at = performance.now() + ms;
    if (wakeTimer !== undefined && wakeAt <= at) return;
    clearTimeout(wakeTimer);
    wakeAt = at;
    wakeTimer = setTimeout(() => {
      wakeTimer = undefined;
      pump();
    }, Math.ceil(ms));
  }

  /** A suspect alone, or what may run together. */
  function take(): readonly Work[] {
    const now = performance.now();
    const probing = breaker?.state === 'half-open';
    const fresh = probing && breaker.freshMs > 0;
    const ahead = probing ? undefined : suspects.ahead(now);
    if (ahead !== undefined) return [ahead];
    const batch: Work[] = [];
    while (batch.length < runner.batchSize) {
      const alone = batch.length === 0;
      const work = probing
        ? (next(now, { waiting: true }) ?? (fresh ? undefined : next(now, { due: true, suspect: alone })))
        : next(now, { waiting: true, due: true, suspect: alone });
      if (work === undefined) break;
      if (alone && work.suspect) return [work];
      batch.push(work);
    }
    if (batch.length > 0 || !probing || fresh) return batch;
    const last = suspects.ahead(now);
    return last === undefined ? [] : [last];
  }

  /** Of the lane whose turn it is; within it what was begun before first. What turns out to be a suspect waits with them. */
  function next(now: number, of: { waiting?: boolean; due?: boolean; suspect?: boolean }): Work | undefined {
    const has = (lane: Priority): boolean =>
      (of.waiting === true && schedule.has(lane)) ||
      (of.due === true && due[lane].size > 0) ||
      (of.suspect === true && suspects.has(lane, now));
    for (;;) {
      const lane = pick(has);
      if (lane === undefined) return undefined;
      if (of.suspect === true && suspects.has(lane, now)) return suspects.next(lane, now);
      const work =
        (of.due === true ? due[lane].shift() : undefined) ?? (of.waiting === true ? schedule.next(lane) : undefined);
      if (work === undefined) continue;
      if (!work.suspect) return work;
      suspects.add(work);
      if (of.suspect === true && suspects.has(lane, now)) return suspects.next(lane, now);
    }
  }

  function start(batch: readonly Work[]): void {
    running += 1;
    if (runner.batchSize === 1 || batch[0]!.suspect) batch[0]!.started = true;
    void run(batch).then(() => {
      for (const work of batch) breaker?.leave(work);
      running -= 1;
      if (batch[0]!.suspect) suspects.end(batch[0]!, performance.now());
      if (running === 0) idle?.();
      pump();
    });
  }

  const lost = (work: Work): boolean => {
    if (work.revoked) schedule.free(work);
    return work.revoked;
  };

  return {
    get running() {
      return running;
    },
    get hungry() {
      return hungry;
    },
    schedule,
    add(work) {
      // In ordered groups a suspect waits with its key.
      if (ordered || !work.suspect) {
        if (schedule.waiting === 0) firstWaitingAt = performance.now();
        schedule.add(work);
        return true;
      }
      if (suspects.crowded(work)) return false;
      suspects.add(work);
      return true;
    },
    addDue: (work) => due[work.delivery.lane].push(work),
    dropRevoked() {
      schedule.drop((work) => work.revoked);
      for (const lane of Object.values(due)) lane.remove(lost);
      suspects.drop(lost);
    },
    pump,
    reset() {
      hungry = false;
    },
    async idle() {
      if (running > 0) await new Promise<void>((resolve) => (idle = resolve));
    },
    close: () => clearTimeout(wakeTimer),
  };
}
