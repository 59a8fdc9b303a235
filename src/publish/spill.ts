/**
 * When a message goes to the spill store instead of the broker (S16).
 *
 * Once a topic's broker is away, what waits for it or is on its way is spilled in the order of its publishing, and what
 * comes is spilled at once, but for one message a second, which probes. What comes for a key of an ordered topic that has
 * rows in the store goes behind them: into the store while the broker is away; else it waits for them to be sent, and
 * follows them into the store only where that takes too long.
 */

import type { Limit } from '../declare-attempt.ts';
import type { Emitter } from '../events.ts';
import type { SpillSettings } from '../outbox/spill-options.ts';
import { createSpillWriter, type SpillWriter } from '../outbox/spill-writer.ts';
import { type Chains, createChains } from './chains.ts';
import type { Destination } from './destination.ts';
import { createOutages, type Outages } from './outages.ts';
import { spillFailedError, spillFullError } from './publish-errors.ts';
import type { Pending } from './queue.ts';

export interface SpillSetup {
  readonly settings: SpillSettings;
  readonly emitter: Emitter;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  /** All that have no answer yet, in the order of their publishing. */
  readonly pendings: ReadonlySet<Pending>;
  readonly destinations: ReadonlyMap<string, Destination>;
  isTransient(error: unknown): boolean;
  answer(pending: Pending, tell: () => void): void;
  /** Sends it the usual way. */
  direct(pending: Pending): void;
}

export interface Spill {
  /** Whether `takes` has to be asked. */
  readonly engaged: boolean;
  readonly writer: SpillWriter;
  readonly outages: Outages;
  readonly chains: Chains;
  /** By when a message must be on its way to the store, in epoch milliseconds: that takes time as well. */
  lastCall(now: number, deadline: number): number;
  /** How long a topic that is not declared yet is tried to be declared. */
  limit(limit: Limit): Limit;
  /** Whether it is taken care of here; if not, it goes the usual way. */
  takes(pending: Pending, destination: Destination): boolean;
  /** The topic cannot even be declared. */
  takeUndeclared(pending: Pending): void;
  /** Why a publish on a topic that is not declared yet need not try to; undefined where it should. */
  skipsDeclaring(topic: string): unknown;
  /** Its last call. */
  late(pending: Pending): void;
  /** The client closes: no line is waited in any more. */
  closing(): void;
  /** All that is left, at the end. */
  takeAll(): void;
  /** Calls back whenever some were stored. Returns the unsubscriber. */
  onStored(listener: () => void): () => void;
  close(): void;
}

export function createSpill(setup: SpillSetup): Spill {
  const { settings, emitter, pendings, destinations, answer } = setup;
  const { spillAfterMs, maxBytes } = settings;
  const lateChains = new Set<string>();
  let onStored: (() => void) | undefined;

  const outages = createOutages({
    patienceMs: spillAfterMs,
    emitter,
    busy: function* () {
      for (const pending of pendings) if (isHere(pending)) yield topicOf(pending);
    },
    onLeave: (topic) => storeAll((pending) => topicOf(pending) === topic),
  });
  const chains = createChains({ patienceMs: spillAfterMs, onFree: setup.direct, onLate: store });
  const writer = createSpillWriter({
    store: settings.spill,
    maxBytes,
    heldBytes: settings.heldBytes ?? 0,
    crashPoint: setup.crashPoint,
    stored(batch, rowIds) {
      for (const [index, pending] of batch.entries()) {
        pending.spilled = true;
        chains.written(pending, rowIds[index]);
        answer(pending, () => pending.resolve({ id: pending.outgoing.id, outcome: 'spilled' }));
      }
      report(batch);
      onStored?.();
    },
    failed(batch, error) {
      for (const pending of batch) {
        chains.written(pending, undefined);
        answer(pending, () => pending.reject(spillFailedError(pending, error)));
      }
    },
    passed: (pending) => chains.written(pending, undefined),
  });

  function chainOf(pending: Pending): string | undefined {
    const { key } = pending.outgoing;
    const topic = topicOf(pending);
    return key !== undefined && destinations.get(topic)?.ordered === true ? `${topic}\n${key}` : undefined;
  }

  /** In one pass, in the order of their publishing. */
  function storeAll(chosen: (pending: Pending) => boolean): void {
    for (const pending of pendings) if (isHere(pending) && chosen(pending)) store(pending);
  }

  function store(pending: Pending): void {
    pending.left = true;
    if (!writer.add(pending)) {
      answer(pending, () => pending.reject(spillFullError(pending, maxBytes)));
      return;
    }
    const name = chainOf(pending);
    if (name !== undefined) chains.spilling(name, pending);
  }

  function report(batch: readonly Pending[]): void {
    if (!emitter.listens('spilled')) return;
    for (const [topic, spilled] of Map.groupBy(batch, topicOf)) {
      const bytes = spilled.reduce((sum, { outgoing }) => sum + outgoing.body.byteLength, 0);
      emitter.emit('spilled', { topic, count: spilled.length, bytes });
    }
  }

  function takes(pending: Pending, destination: Destination): boolean {
    const away = outages.isAway(destination);
    const name = chainOf(pending);
    if (name !== undefined && chains.has(name)) {
      if (away) store(pending);
      else chains.wait(name, pending);
      return true;
    }
    if (!away || isBehindProbe(name, destination.topic)) return false;
    if (!destination.breaker.open && outages.mayProbe(destination.topic)) {
      outages.probeBy(pending);
      return false;
    }
    store(pending);
    return true;
  }

  /** Of the same key, so it must neither overtake it nor be sent without it. */
  function isBehindProbe(name: string | undefined, topic: string): boolean {
    const probe = name === undefined ? undefined : outages.probeOf(topic);
    return probe !== undefined && isHere(probe) && chainOf(probe) === name;
  }

  /** A message that a broker in reach has refused, or is slow to confirm, is not one that it could not get. */
  function isUnreachable(pending: Pending, name: string | undefined): boolean {
    const topic = topicOf(pending);
    if (outages.cutOff || outages.has(topic) || (name !== undefined && chains.has(name))) return true;
    if (pending.lastError !== undefined) return setup.isTransient(pending.lastError);
    // Half of its time is gone without any confirm.
    return (destinations.get(topic)?.confirmedAt ?? 0) < (Date.now() + pending.outgoing.publishedAt) / 2;
  }

  function late(pending: Pending): void {
    const name = chainOf(pending);
    if (!isHere(pending) || !isUnreachable(pending, name)) return;
    if (name === undefined) {
      store(pending);
      return;
    }
    // With all of its key, or what is before it could be sent after it.
    if (lateChains.size === 0) {
      queueMicrotask(() => {
        const names = new Set(lateChains);
        lateChains.clear();
        storeAll((other) => names.has(chainOf(other) ?? ''));
      });
    }
    lateChains.add(name);
  }

  return {
    get engaged() {
      return outages.any || chains.size > 0;
    },
    writer,
    outages,
    chains,
    lastCall: (now, deadline) => deadline - Math.min(1_000, (deadline - now) / 4),
    limit: (limit) => ({ ...limit, patience: { ms: spillAfterMs, isAway: () => outages.cutOff } }),
    takes,
    takeUndeclared(pending) {
      outages.leave(topicOf(pending), pending.lastError);
      store(pending);
    },
    skipsDeclaring(topic) {
      const undeclared = outages.undeclared(topic);
      return undeclared === undefined || outages.mayProbe(topic) ? undefined : undeclared;
    },
    late,
    closing: () => chains.endLines(),
    takeAll: () => storeAll(() => true),
    onStored(listener) {
      onStored = listener;
      return () => {
        onStored = undefined;
      };
    },
    close() {
      outages.close();
      chains.close();
    },
  };
}

const topicOf = (pending: Pending): string => pending.outgoing.topology.topic;
/** On the usual way, and free to leave it. */
const isHere = (pending: Pending): boolean => pending.topic !== undefined && pending.admitted && !pending.left;
