/** A consumer: takes deliveries in, hands them on within its concurrency, renews their leases, and drains at the end. */

import { HoldfastError } from '../errors.ts';
import type { Emitter } from '../events.ts';
import { checkOptions, durationMs, MAX_TIMER_MS } from '../options.ts';
import type { GroupRates } from '../policy/rate.ts';
import type { BrokerAdapter, Delivery, Headers, Receive, SettleOutcome, Source, Topology } from '../port.ts';
import type { Topic } from '../topic.ts';
import { within } from '../within.ts';
import { type ConsumerBreaker, consumerBreaker } from './breaker.ts';
import { createCalls } from './calls.ts';
import type { ProcessContext, Runner } from './context.ts';
import { createDispatch } from './dispatch.ts';
import { createHalts } from './halt.ts';
import { heldKeys } from './held.ts';
import { retryMarks } from './marks.ts';
import type { ConsumePlan } from './options.ts';
import { countSoFar } from './outcome.ts';
import { createRenewals } from './renewals.ts';
import { around, createSettler, type Settler } from './settle.ts';
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
  /** Milliseconds without a delivery or a settlement; undefined while it is paused, closing or handling something. */
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
  /** Of the client: one rate for all its consumers of a group. */
  readonly rates: GroupRates;
  readonly crashPoint: ProcessContext['crashPoint'];
}

/** After the drain, how long aborted handlers and settlements under way are waited for. */
const GRACE_MS = 5_000;

export async function startConsumer(setup: ConsumerSetup, runner: Runner): Promise<ConsumerInternals> {
  const { adapter, topology, topic, plan, ordered, emitter } = setup;
  const names = { topic: topic.name, group: plan.group };
  const held = new Map<Delivery, Work>();
  const timers = new Set<NodeJS.Timeout>();
  const calls = createCalls(plan.timeoutMs, `group "${plan.group}" of topic "${topic.name}"`);
  const closing = new AbortController();
  const counts = { settled: 0, unknown: 0 };
  const breaker: ConsumerBreaker | undefined =
    plan.breaker &&
    consumerBreaker(plan.breaker, (state) => {
      emitter.emit('breaker', { ...names, state });
      dispatch.reset();
      steer();
      dispatch.pump();
    });
  const rate = setup.rates.join(`${topic.name} ${plan.group}`, plan.ratePerSecond);
  const dispatch = createDispatch({
    plan,
    ordered,
    runner,
    breaker,
    rate,
    open: () => !stopping && !paused,
    run: (batch) =>
      runner
        .run(batch, context, (work, free) => free && dispatch.schedule.free(work))
        .catch((error: unknown) =>
          emitter.emit('error', { during: `handle messages of group "${plan.group}"`, error }),
        ),
    fetch: steer,
  });
  const prefetch = prefetchOf(plan, ordered, runner.batchSize);
  const heldBack = heldKeys(prefetch, dispatch.schedule, (full) => emitter.emit('held', { ...names, ...full }));
  let settling = 0;
  let paused = false;
  let stopping = false;
  let ended: Promise<Drained> | undefined;
  let lastDeliveredAt = performance.now();

  const receive: Receive = {
    deliver(batch) {
      if (stopping) return;
      lastDeliveredAt = performance.now();
      for (const delivery of batch) {
        const work = workFor(delivery);
        held.set(delivery, work);
        if (!dispatch.add(work)) sendBack(work, 1_000);
      }
      heldBack.look();
      dispatch.pump();
    },
    revoked(epoch) {
      const lost = [...held].filter(([delivery]) => delivery.epoch === epoch);
      for (const [delivery, work] of lost) {
        work.revoked = true;
        held.delete(delivery);
      }
      for (const [, work] of lost) work.onRevoked?.();
      dispatch.dropRevoked();
      heldBack.look();
      dispatch.pump();
    },
  };

  const source = adapter.subscribe(
    { topology, group: plan.group, ordered, prefetch, leaseMs: plan.leaseMs, handlerTimeoutMs: plan.timeoutMs },
    receive,
  );
  const settler = counting(createSettler(source, emitter, names, setup.crashPoint));
  const context: Omit<ProcessContext, 'invoke'> = {
    topic,
    plan,
    ordered,
    stablePositions: adapter.capabilities.stablePositions === true,
    calls,
    settler,
    emitter,
    breaker,
    rate,
    halts: plan.halts && createHalts(plan.halts, names, { emitter, closing: closing.signal }),
    renewals: plan.dedupe && createRenewals(plan.dedupe, plan.group, emitter),
    closing: closing.signal,
    crashPoint: setup.crashPoint,
    mark,
    hold,
  };
  const opened: Source = await source.catch((error: unknown) => {
    rate.leave();
    throw error;
  });
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
        if (work.revoked) dispatch.schedule.free(work);
        else dispatch.addDue(work);
        dispatch.pump();
      },
      Math.min(delayMs, MAX_TIMER_MS),
    );
    timers.add(timer);
    heldBack.add(work);
  }

  /** Fetches, or holds still, as the user and the breaker want it. */
  function steer(): void {
    const apply = (opened: Source): void => {
      if (stopping) return;
      if (!paused && (breaker === undefined || breaker.state === 'closed' || dispatch.hungry)) opened.resume();
      else opened.pause();
    };
    // The first deliveries may come, and fail, before the subscription is known.
    source.then(apply, () => undefined);
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
    await within(drainMs, dispatch.idle());
    // What has not finished by now is aborted and given back.
    closing.abort(new HoldfastError('handler-aborted', 'the consumer is closing'));
    calls.abortAll(closing.signal.reason);
    await within(GRACE_MS, dispatch.idle());
    for (const timer of timers) clearTimeout(timer);
    dispatch.close();
    rate.leave();
    breaker?.close();
    await within(GRACE_MS, keepAttempts());
    clearInterval(leaseTimer);
    calls.close();
    const givenBack = held.size;
    const unknown = counts.unknown - before.unknown + settling;
    await opened.stop();
    return { completed: counts.settled - before.settled, givenBack, unknown };
  }

  /** What has failed in this process since its delivery would be forgotten with it: it goes back with its attempts counted. */
  async function keepAttempts(): Promise<void> {
    // What was counted ahead and not called is counted back.
    const uncounted = [...held.values()].filter((work) => work.attempts !== work.counted);
    if (ordered) await Promise.all(uncounted.map((work) => countSoFar(work, context)));
    else for (const work of uncounted) sendBack(work, 0);
    await settler.idle();
  }

  return {
    ...names,
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
      dispatch.pump();
    },
    async close(options = {}) {
      checkOptions('close', options, { drainMs: durationMs });
      ended ??= drain(options.drainMs ?? 10_000);
      return ended;
    },
    stalledMs() {
      if (paused || stopping || dispatch.running > 0) return undefined;
      return performance.now() - Math.max(lastDeliveredAt, settler.lastSettledAt);
    },
  };
}

function prefetchOf(plan: ConsumePlan, ordered: boolean, batchSize: number): number {
  const wanted = plan.prefetch ?? Math.max(plan.concurrency * 2 * batchSize, ordered ? 100 : 32);
  return ordered ? Math.min(wanted, plan.heldMax ?? wanted) : wanted;
}
