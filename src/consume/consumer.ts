/** A consumer: takes deliveries in, hands them on within its concurrency, renews their leases, and drains at the end. */

import { HoldfastError } from '../errors.ts';
import type { Emitter } from '../events.ts';
import { checkOptions, durationMs, MAX_TIMER_MS } from '../options.ts';
import { rateLimit } from '../policy/rate.ts';
import type { BrokerAdapter, Delivery, Headers, Receive, SettleOutcome, Source, Topology } from '../port.ts';
import type { Topic } from '../topic.ts';
import { within } from '../within.ts';
import { type ConsumerBreaker, consumerBreaker } from './breaker.ts';
import { createCalls } from './calls.ts';
import { fifo } from './fifo.ts';
import { heldKeys } from './held.ts';
import { retryMarks } from './marks.ts';
import type { ConsumePlan } from './options.ts';
import { orderedSchedule, unorderedSchedule } from './order.ts';
import type { ProcessContext } from './process.ts';
import { around, createSettler, type Settler } from './settle.ts';
import { createSuspects } from './suspects.ts';
import { type Work, workFor } from './work.ts';

export interface Consumer {
  /** Stops taking new messages; what is being handled goes on. */
  pause(): void;
  resume(): void;
  /** Stops intake, waits for handlers at most `drainMs`, settles, and gives the rest back unspent. Idempotent. */
  close(options?: { readonly drainMs?: number }): Promise<Drained>;
}
export interface Drained {
  /** Messages settled as handled, retried or dead while closing. */
  readonly completed: number;
  readonly givenBack: number;
  readonly unknown: number;
}

export interface ConsumerInternals extends Consumer {
  readonly topic: string;
  readonly group: string;
  /** Milliseconds without a delivery or a settlement, while it should be working; undefined while it is not. */
  stalledMs(): number | undefined;
  readonly timeoutMs: number;
  /** Why its breaker holds it; undefined while it does not. */
  heldBy(): string | undefined;
  /** Which shards stand still behind keys that are being retried; undefined if none does. */
  heldShards(): string | undefined;
  /** Messages of the group that wait on the broker, if it can tell. */
  ready(): Promise<number | undefined>;
}

export interface ConsumerSetup {
  readonly adapter: BrokerAdapter;
  readonly topology: Topology;
  readonly topic: Topic;
  readonly plan: ConsumePlan;
  readonly ordered: boolean;
  readonly emitter: Emitter;
  readonly crashPoint: ProcessContext['crashPoint'];
}

/** What one slot does: takes work from the schedule and says when it is through. */
export interface Runner {
  /** The most messages of one run; more than 1 only for batches. */
  readonly batchSize: number;
  readonly batchWaitMs: number;
  /** Calls `finished` once for each work: true frees its key. Never rejects. */
  run(
    batch: readonly Work[],
    context: Omit<ProcessContext, 'invoke'>,
    finished: (work: Work, free: boolean) => void,
  ): Promise<void>;
}

/** After the drain, how long aborted handlers and settlements under way are waited for. */
const GRACE_MS = 5_000;

export async function startConsumer(setup: ConsumerSetup, runner: Runner): Promise<ConsumerInternals> {
  const { adapter, topology, topic, plan, ordered, emitter } = setup;
  const schedule = ordered ? orderedSchedule(plan.laneWeights) : unorderedSchedule(plan.laneWeights);
  const wanted = plan.prefetch ?? Math.max(plan.concurrency * 2 * runner.batchSize, ordered ? 100 : 32);
  const prefetch = ordered ? Math.min(wanted, plan.heldMax ?? wanted) : wanted;
  const heldBack = heldKeys(prefetch, schedule, (full) =>
    emitter.emit('held', { topic: topic.name, group: plan.group, ...full }),
  );
  const due = fifo<Work>();
  const suspects = createSuspects();
  const held = new Map<Delivery, Work>();
  const timers = new Set<NodeJS.Timeout>();
  const rate = rateLimit(plan.ratePerSecond);
  const calls = createCalls(plan.timeoutMs, `group "${plan.group}" of topic "${topic.name}"`);
  const closing = new AbortController();
  const counts = { settled: 0, unknown: 0 };
  const breaker: ConsumerBreaker | undefined =
    plan.breaker &&
    consumerBreaker(plan.breaker, (state) => {
      emitter.emit('breaker', { topic: topic.name, group: plan.group, state });
      hungry = false;
      steer();
      pump();
    });
  // A half-open breaker fetches only when there is nothing here to probe with.
  let hungry = false;
  let running = 0;
  let settling = 0;
  let paused = false;
  let stopping = false;
  let ended: Promise<Drained> | undefined;
  let firstWaitingAt = 0;
  let wakeTimer: NodeJS.Timeout | undefined;
  let wakeAt = 0;
  let lastDeliveredAt = performance.now();
  let idle: (() => void) | undefined;

  const receive: Receive = {
    deliver(batch) {
      if (stopping) return;
      lastDeliveredAt = performance.now();
      if (schedule.waiting === 0) firstWaitingAt = lastDeliveredAt;
      for (const delivery of batch) {
        const work = workFor(delivery);
        held.set(delivery, work);
        // In ordered groups a suspect waits with its key.
        if (ordered || !work.suspect) schedule.add(work);
        else if (suspects.crowded(work)) sendBack(work, 1_000);
        else suspects.add(work);
      }
      heldBack.look();
      pump();
    },
    revoked(epoch) {
      const lost = [...held].filter(([delivery]) => delivery.epoch === epoch);
      for (const [delivery, work] of lost) {
        work.revoked = true;
        held.delete(delivery);
      }
      for (const [, work] of lost) work.onRevoked?.();
      schedule.drop((work) => work.revoked);
      due.remove((work) => work.revoked && release(work));
      suspects.drop((work) => work.revoked && release(work));
      heldBack.look();
      pump();
    },
  };

  const source = adapter.subscribe(
    {
      topology,
      group: plan.group,
      ordered,
      prefetch,
      leaseMs: plan.leaseMs,
      handlerTimeoutMs: plan.timeoutMs,
    },
    receive,
  );
  const settler = counting(createSettler(source, emitter, { topic: topic.name, group: plan.group }));
  const context: Omit<ProcessContext, 'invoke'> = {
    topic,
    plan,
    ordered,
    stablePositions: adapter.capabilities.stablePositions === true,
    calls,
    settler,
    emitter,
    breaker,
    closing: closing.signal,
    crashPoint: setup.crashPoint,
    mark,
    hold,
  };
  const opened: Source = await source;
  const leaseTimer = adapter.capabilities.leases
    ? setInterval(() => void extend(), Math.floor(plan.leaseMs / 3))
    : undefined;

  function counting(inner: Settler): Settler {
    return around(inner, async (settlement) => {
      // From here on it is the adapter's: its lease is not ours to renew.
      held.delete(settlement.delivery);
      settling += 1;
      const outcome: SettleOutcome = await inner.settle(settlement);
      settling -= 1;
      if (outcome === 'settled') counts.settled += 1;
      else if (outcome === 'unknown') counts.unknown += 1;
      return outcome;
    });
  }

  async function mark(delivery: Delivery, marks: Headers): Promise<SettleOutcome | undefined> {
    try {
      const marking = await source;
      return marking.mark === undefined ? undefined : await marking.mark(delivery, marks);
    } catch (error) {
      emitter.emit('error', { during: `mark a message of group "${plan.group}"`, error });
      return 'unknown';
    }
  }

  /** With its attempts as they are. */
  function sendBack(work: Work, delayMs: number): void {
    void settler.settle({ kind: 'retry', delivery: work.delivery, delayMs, marks: retryMarks(work, Date.now()) });
  }

  function hold(work: Work, delayMs: number): void {
    const timer = setTimeout(
      () => {
        timers.delete(timer);
        heldBack.remove(work);
        if (work.revoked) release(work);
        else due.push(work);
        pump();
      },
      Math.min(delayMs, MAX_TIMER_MS),
    );
    timers.add(timer);
    heldBack.add(work);
  }

  function release(work: Work): boolean {
    schedule.free(work);
    return true;
  }

  /** Fetches, or holds still, as the user and the breaker want it. */
  function steer(): void {
    const apply = (opened: Source): void => {
      if (stopping) return;
      if (!paused && (breaker === undefined || breaker.state === 'closed' || hungry)) opened.resume();
      else opened.pause();
    };
    // The first deliveries may come, and fail, before the subscription is known.
    source.then(apply, () => undefined);
  }

  function slots(): number {
    if (breaker === undefined || breaker.state === 'closed') return plan.concurrency;
    return breaker.state === 'open' ? 0 : 1;
  }

  function pump(): void {
    fill();
    if (breaker?.state !== 'half-open' || running > 0 || hungry || paused || stopping) return;
    hungry = true;
    steer();
  }

  function fill(): void {
    while (!stopping && !paused && running < slots()) {
      const suspectMs = suspects.waitMs(performance.now());
      if (suspectMs !== undefined && suspectMs > 0) wakeIn(suspectMs);
      const waitMs = suspectMs === 0 ? untilRate() : due.size > 0 || schedule.waiting > 0 ? untilStart() : undefined;
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

  /** 0 when a run may start now, else how long to wait for the rate or for the batch to fill. */
  function untilStart(): number {
    if (runner.batchWaitMs > 0 && due.size + schedule.waiting < runner.batchSize) {
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
  function take(): Work[] {
    const probing = breaker?.state === 'half-open';
    const fresh = probing && breaker.freshMs > 0;
    const first = probing ? undefined : suspects.next(performance.now());
    if (first !== undefined) return [first];
    const batch: Work[] = [];
    while (batch.length < runner.batchSize) {
      const work = probing ? (schedule.next() ?? (fresh ? undefined : due.shift())) : (due.shift() ?? schedule.next());
      if (work === undefined) break;
      if (work.suspect) suspects.add(work);
      else batch.push(work);
    }
    if (batch.length > 0 || fresh) return batch;
    const suspect = suspects.next(performance.now());
    return suspect === undefined ? [] : [suspect];
  }

  function start(batch: readonly Work[]): void {
    running += 1;
    void runner
      .run(batch, context, (work, free) => free && schedule.free(work))
      .catch((error: unknown) => emitter.emit('error', { during: `handle messages of group "${plan.group}"`, error }))
      .then(() => {
        for (const work of batch) breaker?.leave(work);
        running -= 1;
        if (batch[0]!.suspect) suspects.end(batch[0]!, performance.now());
        if (running === 0) idle?.();
        pump();
      });
  }

  async function extend(): Promise<void> {
    if (held.size === 0) return;
    try {
      await opened.extend([...held.keys()]);
    } catch (error) {
      emitter.emit('error', { during: `extend leases of group "${plan.group}"`, error });
    }
  }

  async function drain(drainMs: number): Promise<Drained> {
    const before = { ...counts };
    stopping = true;
    opened.pause();
    await quiet(drainMs);
    // What has not finished by now is aborted and given back.
    closing.abort(new HoldfastError('handler-aborted', 'the consumer is closing'));
    calls.abortAll(closing.signal.reason);
    await quiet(GRACE_MS);
    for (const timer of timers) clearTimeout(timer);
    clearTimeout(wakeTimer);
    breaker?.close();
    keepAttempts();
    await within(GRACE_MS, settler.idle());
    clearInterval(leaseTimer);
    calls.close();
    const givenBack = held.size;
    const unknown = counts.unknown - before.unknown + settling;
    await opened.stop();
    return { completed: counts.settled - before.settled, givenBack, unknown };
  }

  /** What has failed in this process since its delivery would be forgotten with it: it goes back with its attempts counted. */
  function keepAttempts(): void {
    if (ordered) return;
    for (const work of held.values()) {
      // What was counted ahead and not called is counted back.
      if (work.attempts !== work.counted) sendBack(work, 0);
    }
  }

  async function quiet(withinMs: number): Promise<void> {
    if (running > 0) await within(withinMs, new Promise<void>((resolve) => (idle = resolve)));
  }

  return {
    topic: topic.name,
    group: plan.group,
    timeoutMs: plan.timeoutMs,
    heldBy: () => (breaker === undefined || breaker.state === 'closed' ? undefined : breaker.why),
    heldShards: () => heldBack.detail,
    ready: async () => (await adapter.backlog(topology, plan.group)).ready,
    pause() {
      paused = true;
      if (!stopping) opened.pause();
    },
    resume() {
      paused = false;
      if (!stopping) steer();
      pump();
    },
    async close(options = {}) {
      checkOptions('close', options, { drainMs: durationMs });
      ended ??= drain(options.drainMs ?? 10_000);
      return ended;
    },
    stalledMs: () =>
      paused ||
      stopping ||
      running > 0 ||
      heldBack.detail !== undefined ||
      (breaker !== undefined && breaker.state !== 'closed')
        ? undefined
        : performance.now() - Math.max(lastDeliveredAt, settler.lastSettledAt),
  };
}
