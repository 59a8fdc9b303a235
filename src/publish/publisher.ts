/**
 * The way of a message out, top to bottom: room in the buffer → queue of its topic → batch without linger (S10) → send
 * → exactly one answer, by its deadline (S11).
 */

import { onAbort } from '../aborts.ts';
import { HoldfastError } from '../errors.ts';
import type { Emitter } from '../events.ts';
import type { SpillSettings } from '../outbox/spill-options.ts';
import type { BreakerOptions } from '../policy/circuit-breaker.ts';
import type { BrokerAdapter, Outgoing, Topology } from '../port.ts';
import type { Topic } from '../topic.ts';
import { within } from '../within.ts';
import { createDeadlines } from './deadlines.ts';
import { createDestination, type Destination, type DestinationSetup } from './destination.ts';
import { abortError, isOut, lateError, openError } from './publish-errors.ts';
import type { Pending } from './queue.ts';
import type { Receipt } from './receipt.ts';
import { type Buffer, createRoom } from './room.ts';
import { createSpill, type Spill } from './spill.ts';

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

/** What the spill store gets at the end to take what is left. */
const SPILL_GRACE_MS = 1_000;

export function createPublisher(options: PublisherOptions): Publisher {
  const { adapter, emitter, buffer } = options;
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
          direct: (pending) => destinationOf(pending.outgoing.topology).add(pending),
        });

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

  const setup: DestinationSetup = {
    adapter,
    emitter,
    breaker: options.breaker,
    crashPoint: options.crashPoint,
    signal: stop.signal,
    answer,
    opened: (topic) => spill?.outages.leave(topic),
    failed: (topic) => spill?.outages.failed(topic),
    confirmed(topic) {
      if (spill?.engaged) spill.outages.succeeded(topic);
    },
  };

  function destinationOf(topology: Topology): Destination {
    let destination = destinations.get(topology.topic);
    if (destination === undefined) {
      destination = createDestination(topology, setup);
      destinations.set(topology.topic, destination);
    } else destination.takes(topology);
    return destination;
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
          destination.add(pending);
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
    for (const destination of destinations.values()) destination.close();
    return { unknown };
  }

  return {
    publish,
    spill,
    get pending() {
      return pendings.size;
    },
    get breakers() {
      return new Map([...destinations].map(([topic, { breaker }]) => [topic, breaker]));
    },
    close,
  };
}
