/**
 * The way of a message out, top to bottom: room in the buffer → queue of its topic → batch without linger (S10) → send
 * → exactly one answer, by its deadline (S11).
 */

import { onAbort } from '../aborts.ts';
import { fromAdapter, HoldfastError, messageOf, type PublishFailure, redact } from '../errors.ts';
import type { Emitter } from '../events.ts';
import { type Breaker, type BreakerOptions, circuitBreaker } from '../policy/circuit-breaker.ts';
import type { BrokerAdapter, Outgoing, Topology } from '../port.ts';
import { createDeadlines } from './deadlines.ts';
import { orderedQueue, type Pending, type SendQueue, unorderedQueue } from './queue.ts';
import { type Buffer, createRoom } from './room.ts';
import { BatchFailed, type SendContext, send } from './send.ts';

export interface Receipt {
  readonly id: string;
  readonly outcome: 'confirmed' | 'spilled';
  /** Where the broker put it, if it says. */
  readonly position?: string;
}

export interface PublisherOptions {
  readonly adapter: BrokerAdapter;
  readonly emitter: Emitter;
  readonly breaker: BreakerOptions;
  readonly buffer: Buffer;
}

export interface Publisher {
  /** Resolves on the broker's confirm; rejects by `deadline` (epoch milliseconds) with a HoldfastError that says whether the message may have been stored. */
  publish(outgoing: Outgoing, deadline: number, signal: AbortSignal | undefined): Promise<Receipt>;
  readonly pending: number;
  readonly breakers: ReadonlyMap<string, { readonly open: boolean }>;
  /** Waits for what is pending, at most `drainMs`; answers the rest. Returns how many had an unknown outcome. */
  close(drainMs: number): Promise<{ readonly unknown: number }>;
}

const isOrdered = (topology: Topology): boolean => topology.groups.some((group) => group.ordered);

interface Destination {
  readonly topic: string;
  ordered: boolean;
  queue: SendQueue;
  readonly breaker: Breaker;
  readonly context: SendContext;
  inFlight: number;
  scheduled: boolean;
}

export function createPublisher({ adapter, emitter, breaker, buffer }: PublisherOptions): Publisher {
  const { flow } = adapter.capabilities;
  const destinations = new Map<string, Destination>();
  const pendings = new Set<Pending>();
  const room = createRoom(buffer);
  const stop = new AbortController();
  const drained: (() => void)[] = [];
  let closed = false;

  const deadlines = createDeadlines(pendings, (pending) => answer(pending, () => pending.reject(lateError(pending))));

  function answer(pending: Pending, tell: () => void): void {
    if (pending.answered) return;
    pending.answered = true;
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
        (state) => emitter.emit('breaker', { topic, state }),
      ),
      context: {
        adapter,
        get breaker() {
          return made.breaker;
        },
        signal: stop.signal,
        confirmed(pending, position) {
          pending.confirmed = true;
          answer(pending, () => pending.resolve(position));
        },
        unroutable: (pending) => answer(pending, () => pending.reject(unroutableError(pending))),
        rejected: (pending, error) => answer(pending, () => pending.reject(rejectedError(pending, error))),
        onRetry: (count, attempt, error) => emitter.emit('publish-retry', { topic, count, attempt, error }),
      },
      inFlight: 0,
      scheduled: false,
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
        report(destination, batch, performance.now() - startedAt);
        flush(destination);
      });
    }
  }

  function report({ topic }: Destination, batch: readonly Pending[], durationMs: number): void {
    if (!emitter.listens('published')) return;
    const confirmed = batch.filter((pending) => pending.confirmed).length;
    emitter.emit('published', { topic, confirmed, failed: batch.length - confirmed, durationMs });
  }

  function publish(outgoing: Outgoing, deadline: number, signal: AbortSignal | undefined): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const { id } = outgoing;
      if (closed) return reject(new HoldfastError('client-closed', `Message ${id} was not sent: the client is closed`));
      if (signal?.aborted) return reject(abortError(id, signal, false));
      const destination = destinationOf(outgoing.topology);
      if (destination.breaker.open) return reject(openError(outgoing));
      const pending: Pending = {
        outgoing,
        deadline,
        bytes: outgoing.body.byteLength + 256,
        maybeStored: false,
        confirmed: false,
        inFlight: false,
        admitted: false,
        forget: undefined,
        answered: false,
        lastError: undefined,
        resolve: (position) =>
          resolve(position === undefined ? { id, outcome: 'confirmed' } : { id, outcome: 'confirmed', position }),
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
          destination.queue.add(pending);
          schedule(destination);
        },
      });
    });
  }

  async function close(drainMs: number): Promise<{ readonly unknown: number }> {
    closed = true;
    if (pendings.size > 0) {
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([
        new Promise<void>((resolve) => drained.push(resolve)),
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, drainMs);
        }),
      ]);
      clearTimeout(timer);
    }
    const unknown = [...pendings].filter(isOut).length;
    for (const pending of [...pendings]) answer(pending, () => pending.reject(lateError(pending)));
    stop.abort(new HoldfastError('client-closed', 'the client is closed'));
    deadlines.close();
    for (const destination of destinations.values()) destination.breaker.close();
    return { unknown };
  }

  return {
    publish,
    get pending() {
      return pendings.size;
    },
    get breakers() {
      return new Map([...destinations].map(([topic, destination]) => [topic, { open: destination.breaker.open }]));
    },
    close,
  };
}

/** Whether it may be stored: an attempt ended without saying, or one is on its way. */
const isOut = (pending: Pending): boolean => pending.maybeStored || pending.inFlight;

function lateError(pending: Pending): HoldfastError {
  const { outgoing, lastError } = pending;
  const { id, topology } = outgoing;
  const why = lastError === undefined ? '' : ` (last: ${redact(messageOf(lastError))})`;
  const options = { cause: lastError, details: { id, topic: topology.topic } };
  return isOut(pending)
    ? new HoldfastError(
        'publish-unknown',
        `The broker did not confirm message ${id} on "${topology.topic}" in time${why}. It may have been stored: publish again with the same id`,
        options,
      )
    : new HoldfastError(
        'publish-timeout',
        `Message ${id} could not be sent to "${topology.topic}" in time${why}. It was not stored: publish again when the broker is back`,
        options,
      );
}

/** What the last attempt says of itself is not the whole: one before it may have stored the message. */
const outcomeOf = ({ maybeStored }: Pending): PublishFailure => (maybeStored ? 'unknown' : 'not-sent');

function unroutableError(pending: Pending): HoldfastError {
  const { id, topology } = pending.outgoing;
  return new HoldfastError(
    'unroutable',
    `Message ${id} was refused: no group consumes topic "${topology.topic}". Declare one in defineTopic's groups, or start a consumer first`,
    {
      details: { id, topic: topology.topic },
      outcome: outcomeOf(pending),
    },
  );
}

function rejectedError(pending: Pending, error: unknown): HoldfastError {
  const { id, topology } = pending.outgoing;
  const { code, message } = fromAdapter(error, `publish message ${id} to "${topology.topic}"`);
  return new HoldfastError(code === 'message-too-large' ? code : 'publish-rejected', message, {
    cause: error,
    details: { id, topic: topology.topic },
    outcome: outcomeOf(pending),
  });
}

function openError({ id, topology }: Outgoing): HoldfastError {
  return new HoldfastError(
    'circuit-open',
    `Message ${id} was not sent: publishing to "${topology.topic}" keeps failing, so the circuit is open. Try again in a second`,
    {
      details: { id, topic: topology.topic },
    },
  );
}

function abortError(id: string, signal: AbortSignal, accepted: boolean): HoldfastError {
  return new HoldfastError(
    'publish-aborted',
    `Waiting for the confirm of message ${id} was aborted${accepted ? '; it may have been stored' : ' before it was sent'}`,
    {
      cause: signal.reason,
      details: { id },
      outcome: accepted ? 'unknown' : 'not-sent',
    },
  );
}
