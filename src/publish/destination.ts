/** One topic's way out: what waits, its circuit, and the batches on their way, as many as the adapter's window allows (S8–S10). */

import type { Emitter } from '../events.ts';
import { type BreakerOptions, circuitBreaker } from '../policy/circuit-breaker.ts';
import type { BrokerAdapter, Topology } from '../port.ts';
import { isOrdered } from '../shape.ts';
import { rejectedError, unroutableError } from './publish-errors.ts';
import { orderedQueue, type Pending, unorderedQueue } from './queue.ts';
import { BatchFailed, type SendContext, send } from './send.ts';

export interface Destination {
  readonly topic: string;
  readonly breaker: { readonly open: boolean };
  readonly ordered: boolean;
  /** When a batch was last confirmed, in epoch milliseconds; 0 is never. */
  readonly confirmedAt: number;
  add(pending: Pending): void;
  /** Another definition of the topic may add an ordered group: from then on its keys are kept apart in flight (S9). */
  takes(topology: Topology): void;
  close(): void;
}

export interface DestinationSetup {
  readonly adapter: BrokerAdapter;
  readonly emitter: Emitter;
  readonly breaker: BreakerOptions;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  /** Aborts when the client gives up on what is pending. */
  readonly signal: AbortSignal;
  answer(pending: Pending, tell: () => void): void;
  /** What the spill is told: the circuit has opened, an attempt has failed by the connection, something was confirmed. */
  opened(topic: string): void;
  failed(topic: string): void;
  confirmed(topic: string): void;
}

export function createDestination(topology: Topology, setup: DestinationSetup): Destination {
  const { adapter, emitter, answer } = setup;
  const { topic } = topology;
  const { flow } = adapter.capabilities;
  const breaker = circuitBreaker(
    setup.breaker,
    (error) => error instanceof BatchFailed && error.transient,
    (state) => {
      emitter.emit('breaker', { topic, state });
      if (state === 'open') setup.opened(topic);
    },
  );
  let ordered = isOrdered(topology);
  let queue = ordered ? orderedQueue(flow.exclusive) : unorderedQueue();
  let inFlight = 0;
  let scheduled = false;
  let confirmedAt = 0;

  const context: SendContext = {
    adapter,
    breaker,
    crashPoint: setup.crashPoint,
    signal: setup.signal,
    confirmed(pending, position) {
      const { id } = pending.outgoing;
      pending.confirmed = true;
      answer(pending, () =>
        pending.resolve(position === undefined ? { id, outcome: 'confirmed' } : { id, outcome: 'confirmed', position }),
      );
      setup.confirmed(topic);
    },
    unroutable: (pending) => answer(pending, () => pending.reject(unroutableError(pending))),
    rejected: (pending, error) => answer(pending, () => pending.reject(rejectedError(pending, error))),
    failed: () => setup.failed(topic),
    onRetry: (count, attempt, error) => emitter.emit('publish-retry', { topic, count, attempt, error }),
  };

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    // A microtask later, so that publishes of one tick share a batch; no linger beyond that (S10).
    queueMicrotask(() => {
      scheduled = false;
      flush();
    });
  }

  function flush(): void {
    while (inFlight < flow.window && queue.size > 0) {
      const from = queue;
      const batch = from.take(flow);
      if (batch.length === 0) return;
      inFlight += 1;
      const startedAt = performance.now();
      void send(batch, context).then(() => {
        inFlight -= 1;
        from.release(batch);
        if (batch.some(({ confirmed }) => confirmed)) confirmedAt = Date.now();
        report(batch, performance.now() - startedAt);
        flush();
      });
    }
  }

  function report(batch: readonly Pending[], durationMs: number): void {
    if (!emitter.listens('published')) return;
    const confirmed = batch.filter((pending) => pending.confirmed).length;
    const failed = batch.filter((pending) => !pending.confirmed && !pending.spilled).length;
    emitter.emit('published', { topic, confirmed, failed, durationMs });
  }

  return {
    topic,
    breaker,
    get ordered() {
      return ordered;
    },
    get confirmedAt() {
      return confirmedAt;
    },
    add(pending) {
      queue.add(pending);
      schedule();
    },
    takes(other) {
      if (ordered || !isOrdered(other)) return;
      const waiting = queue;
      ordered = true;
      queue = orderedQueue(flow.exclusive);
      while (waiting.size > 0) for (const pending of waiting.take(flow)) queue.add(pending);
    },
    close: () => breaker.close(),
  };
}
