/**
 * The way of a message out, top to bottom: room in the buffer → queue of its topic → batch without linger (S10) → send
 * → exactly one answer, by its deadline (S11).
 */

import { onAbort } from '../aborts.ts';
import { HoldfastError } from '../errors.ts';
import type { Emitter } from '../events.ts';
import type { SpillSettings } from '../outbox/spill-options.ts';
import { type Breaker, type BreakerOptions, circuitBreaker } from '../policy/circuit-breaker.ts';
import type { BrokerAdapter, Outgoing, Topology } from '../port.ts';
import { isOrdered } from '../shape.ts';
import type { Topic } from '../topic.ts';
import { within } from '../within.ts';
import { createDeadlines } from './deadlines.ts';
import { abortError, isOut, lateError, openError, rejectedError, unroutableError } from './publish-errors.ts';
import { orderedQueue, type Pending, type SendQueue, unorderedQueue } from './queue.ts';
import { type Buffer, createRoom } from './room.ts';
import { BatchFailed, type SendContext, send } from './send.ts';
import { createSpill, type Spill } from './spill.ts';

export interface Receipt {
  readonly id: string;
  /** `spilled`: stored by `connect`'s `spill` while the broker is away, and sent when it is back. */
  readonly outcome: 'confirmed' | 'spilled';
  /** Where the broker put it, if it says. */
  readonly position?: string;
}

export interface PublisherOptions {
  readonly adapter: BrokerAdapter;
  readonly emitter: Emitter;
  readonly breaker: BreakerOptions;
  readonly buffer: Buffer;
  readonly spill?: SpillSettings | undefined;
  readonly crashPoint?: ((name: string) => void | Promise<void>) | undefined;
}

export interface Publisher {
  /**
   * Resolves on the broker's confirm; rejects by `deadline` (epoch milliseconds) with a HoldfastError that says whether
   * the message may have been stored.
   *
   * With a `topic` it may be spilled, and then resolves once it is stored. `undeclared` says why the topic could not be
   * declared: it is spilled at once.
   */
  publish(
    outgoing: Outgoing,
    deadline: number,
    signal: AbortSignal | undefined,
    topic?: Topic,
    undeclared?: unknown,
  ): Promise<Receipt>;
  readonly spill: Spill | undefined;
  readonly pending: number;
  readonly breakers: ReadonlyMap<string, { readonly open: boolean }>;
  /** Waits for what is pending, at most `drainMs`; answers the rest. Returns how many had an unknown outcome. */
  close(drainMs: number): Promise<{ readonly unknown: number }>;
}

interface Destination {
  readonly topic: string;
  ordered: boolean;
  queue: SendQueue;
  readonly breaker: Breaker;
  readonly context: SendContext;
  inFlight: number;
  scheduled: boolean;
  /** Epoch milliseconds. */
  confirmedAt: number;
}

/** What the spill store gets at the end to take what is left. */
const SPILL_GRACE_MS = 1_000;

export function createPublisher(options: PublisherOptions): Publisher {
  const { adapter, emitter, breaker, buffer } = options;
  const { flow } = adapter.capabilities;
  const destinations = new Map<string, Destination>();
  const pendings = new Set<Pending>();
  const room = createRoom(buffer);
  const stop = new AbortController();
  const drained: (() => void)[] = [];
  let closed = false;

  const deadlines = createDeadlines(pendings, (pending) => {
    if (pending.dueAt < pending.deadline) {
      pending.dueAt = pending.deadline;
      spill?.late(pending);
    } else answer(pending, () => pending.reject(lateError(pending)));
  });

  const spill =
    options.spill === undefined
      ? undefined
      : createSpill({
          settings: options.spill,
          emitter,
          crashPoint: options.crashPoint,
          pendings,
          destinations,
          isTransient: (error) => adapter.isTransient(error),
          answer,
          direct: enqueue,
        });

  function enqueue(pending: Pending): void {
    const destination = destinationOf(pending.outgoing.topology);
    destination.queue.add(pending);
    schedule(destination);
  }

  function answer(pending: Pending, tell: () => void): void {
    if (pending.answered) return;
    pending.answered = true;
    pending.left = true;
    pendings.delete(pending);
    if (pending.admitted) room.leave(pending.bytes);
    pending.forget?.();
    tell();
    if (pendings.size === 0) for (const wake of drained.splice(0)) wake();
  }

  function destinationOf(topology: Topology): Destination {
    const known = destinations.get(topology.topic);
    if (known !== undefined) {
      if (!known.ordered && isOrdered(topology)) keepKeysApart(known);
      return known;
    }
    const { topic } = topology;
    const made: Destination = {
      topic,
      ordered: isOrdered(topology),
      queue: isOrdered(topology) ? orderedQueue(flow.exclusive) : unorderedQueue(),
      breaker: circuitBreaker(
        breaker,
        (error) => error instanceof BatchFailed && error.transient,
        (state) => {
          emitter.emit('breaker', { topic, state });
          if (state === 'open') spill?.outages.leave(topic);
        },
      ),
      context: {
        adapter,
        get breaker() {
          return made.breaker;
        },
        crashPoint: options.crashPoint,
        signal: stop.signal,
        confirmed(pending, position) {
          const { id } = pending.outgoing;
          pending.confirmed = true;
          answer(pending, () =>
            pending.resolve(
              position === undefined ? { id, outcome: 'confirmed' } : { id, outcome: 'confirmed', position },
            ),
          );
          if (spill?.engaged) spill.outages.succeeded(topic);
        },
        unroutable: (pending) => answer(pending, () => pending.reject(unroutableError(pending))),
        rejected: (pending, error) => answer(pending, () => pending.reject(rejectedError(pending, error))),
        failed: () => spill?.outages.failed(topic),
        onRetry: (count, attempt, error) => emitter.emit('publish-retry', { topic, count, attempt, error }),
      },
      inFlight: 0,
      scheduled: false,
      confirmedAt: 0,
    };
    destinations.set(topic, made);
    return made;
  }

  /** A second definition of the topic has added an ordered group: from now on its keys are kept apart in flight (S9). */
  function keepKeysApart(destination: Destination): void {
    const waiting = destination.queue;
    destination.ordered = true;
    destination.queue = orderedQueue(flow.exclusive);
    while (waiting.size > 0) for (const pending of waiting.take(flow)) destination.queue.add(pending);
  }

  function schedule(destination: Destination): void {
    if (destination.scheduled) return;
    destination.scheduled = true;
    // A microtask later, so that publishes of one tick share a batch; no linger beyond that (S10).
    queueMicrotask(() => {
      destination.scheduled = false;
      flush(destination);
    });
  }

  function flush(destination: Destination): void {
    while (destination.inFlight < flow.window && destination.queue.size > 0) {
      const { queue } = destination;
      const batch = queue.take(flow);
      if (batch.length === 0) return;
      destination.inFlight += 1;
      const startedAt = performance.now();
      void send(batch, destination.context).then(() => {
        destination.inFlight -= 1;
        queue.release(batch);
        if (batch.some(({ confirmed }) => confirmed)) destination.confirmedAt = Date.now();
        report(destination, batch, performance.now() - startedAt);
        flush(destination);
      });
    }
  }

  function report({ topic }: Destination, batch: readonly Pending[], durationMs: number): void {
    if (!emitter.listens('published')) return;
    const confirmed = batch.filter((pending) => pending.confirmed).length;
    const failed = batch.filter((pending) => !pending.confirmed && !pending.spilled).length;
    emitter.emit('published', { topic, confirmed, failed, durationMs });
  }

  function publish(
    outgoing: Outgoing,
    deadline: number,
    signal: AbortSignal | undefined,
    topic?: Topic,
    undeclared?: unknown,
  ): Promise<Receipt> {
    const spills = topic === undefined ? undefined : spill;
    return new Promise((resolve, reject) => {
      const { id } = outgoing;
      if (closed) return reject(new HoldfastError('client-closed', `Message ${id} was not sent: the client is closed`));
      if (signal?.aborted) return reject(abortError(id, signal, false));
      const destination = destinationOf(outgoing.topology);
      if (destination.breaker.open && spills === undefined) return reject(openError(outgoing));
      const pending: Pending = {
        outgoing,
        topic: spills === undefined ? undefined : topic,
        deadline,
        dueAt: spills === undefined ? deadline : spills.lastCall(Date.now(), deadline),
        bytes: outgoing.body.byteLength + 256,
        maybeStored: false,
        confirmed: false,
        inFlight: false,
        writing: false,
        admitted: false,
        forget: undefined,
        answered: false,
        left: false,
        spilled: false,
        lastError: undeclared,
        resolve,
        reject,
      };
      pendings.add(pending);
      deadlines.watch(pending);
      if (signal !== undefined) {
        // An abort cannot call a message back: what may be on its way is reported as unknown.
        const abort = (): void => answer(pending, () => pending.reject(abortError(id, signal, isOut(pending))));
        pending.forget = onAbort(signal, abort);
      }
      room.enter({
        bytes: pending.bytes,
        gone: () => pending.answered,
        go() {
          pending.admitted = true;
          if (spills !== undefined) {
            if (undeclared !== undefined) return spills.takeUndeclared(pending);
            if ((spills.engaged || destination.breaker.open) && spills.takes(pending, destination)) return;
          }
          destination.queue.add(pending);
          schedule(destination);
        },
      });
    });
  }

  /** Until nothing is pending, at most so long. */
  async function idle(ms: number): Promise<void> {
    if (pendings.size > 0) await within(ms, new Promise<void>((resolve) => drained.push(resolve)));
  }

  async function close(drainMs: number): Promise<{ readonly unknown: number }> {
    closed = true;
    spill?.closing();
    const graceMs = spill === undefined ? 0 : Math.min(SPILL_GRACE_MS, drainMs / 2);
    await idle(drainMs - graceMs);
    if (spill !== undefined && pendings.size > 0) {
      spill.takeAll();
      await idle(SPILL_GRACE_MS);
    }
    spill?.close();
    const unknown = [...pendings].filter(isOut).length;
    for (const pending of [...pendings]) answer(pending, () => pending.reject(lateError(pending)));
    stop.abort(new HoldfastError('client-closed', 'the client is closed'));
    deadlines.close();
    for (const destination of destinations.values()) destination.breaker.close();
    return { unknown };
  }

  return {
    publish,
    spill,
    get pending() {
      return pendings.size;
    },
    get breakers() {
      return new Map([...destinations].map(([topic, destination]) => [topic, { open: destination.breaker.open }]));
    },
    close,
  };
}
