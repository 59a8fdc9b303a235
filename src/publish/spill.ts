/**
 * When a message goes to the spill store instead of the broker (S16).
 *
 * A topic is in *trouble* from its first failure by the connection, or while its adapter says that it is cut off, until
 * something is confirmed. When that has lasted `spillAfterMs`, or its circuit is open, it is *away*: what waits or is on its way
 * is spilled in the order of its publishing, and what comes is spilled at once, but for one message a second, which probes.
 *
 * A key of an ordered topic that has rows in the store is a *chain*: what comes for it stays behind them. While the topic
 * is away that means in the store; else it waits for the rows to be sent, and follows them into the store only when that
 * takes longer than `spillAfterMs`.
 */

import type { Limit } from '../declare.ts';
import type { Emitter } from '../events.ts';
import { shardOf } from '../outbox/entry.ts';
import type { SpillSettings } from '../outbox/spill-options.ts';
import { createSpillWriter, type SpillWriter } from '../outbox/spill-writer.ts';
import { spillFailedError, spillFullError } from './publish-errors.ts';
import type { Pending } from './queue.ts';

/** What spilling needs to know of a topic's way out. */
export interface SpillDestination {
  readonly topic: string;
  readonly ordered: boolean;
  readonly breaker: { readonly open: boolean };
  /** When a batch was last confirmed, in epoch milliseconds; 0 is never. */
  readonly confirmedAt: number;
}

export interface SpillSetup {
  readonly settings: SpillSettings;
  readonly emitter: Emitter;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  /** All that have no answer yet, in the order of their publishing. */
  readonly pendings: ReadonlySet<Pending>;
  readonly destinations: ReadonlyMap<string, SpillDestination>;
  isTransient(error: unknown): boolean;
  answer(pending: Pending, tell: () => void): void;
  /** Sends it the usual way. */
  direct(pending: Pending): void;
}

export interface SpillRow {
  readonly rowId: string;
  readonly shard: number;
}

export interface Spill {
  /** Whether `takes` has to be asked. */
  readonly engaged: boolean;
  /** Whether the broker seems to be away, of any topic. */
  readonly away: boolean;
  /** The adapter says that it is cut off, and nothing was confirmed since. */
  readonly cutOff: boolean;
  readonly writer: SpillWriter;
  /** By when a message must be on its way to the store, in epoch milliseconds: that takes time as well. */
  lastCall(now: number, deadline: number): number;
  /** How long a topic that is not declared yet is tried to be declared. */
  limit(limit: Limit): Limit;
  /** Whether it is taken care of here; if not, it goes the usual way. */
  takes(pending: Pending, destination: SpillDestination): boolean;
  /** The topic cannot even be declared. */
  takeUndeclared(pending: Pending, destination: SpillDestination): void;
  /** Why a publish on a topic that is not declared yet need not try to; undefined where it should. */
  skipsDeclaring(topic: string): unknown;
  failed(destination: SpillDestination): void;
  succeeded(topic: string): void;
  opened(topic: string): void;
  /** Its last call. */
  late(pending: Pending): void;
  /** All that is left, at the end. */
  takeAll(): void;
  /** The last rows of keys that have some, those first for which messages wait. */
  rows(most: number): readonly SpillRow[];
  /** Calls back whenever some were stored. Returns the unsubscriber. */
  onStored(listener: () => void): () => void;
  /** These rows were sent or parked. */
  gone(rowIds: readonly string[]): void;
  close(): void;
}

interface Trouble {
  /** By the monotonic clock. */
  readonly since: number;
  away: boolean;
  probeAt: number;
  probe: Pending | undefined;
  /** Why the topic could not be declared, if it could not. */
  undeclared: unknown;
}
interface Chain {
  readonly topic: string;
  /** On their way into the store. */
  writing: number;
  last: SpillRow | undefined;
  /** Behind the rows, in memory. */
  line: Pending[];
  lineSince: number;
}

const PROBE_EVERY_MS = 1_000;
const lastCall = (now: number, deadline: number): number => deadline - Math.min(1_000, (deadline - now) / 4);

export function createSpill(setup: SpillSetup): Spill {
  const { settings, emitter, pendings, destinations, answer } = setup;
  const { spillAfterMs, maxBytes } = settings;
  const troubles = new Map<string, Trouble>();
  const chains = new Map<string, Chain>();
  const chainOfRow = new Map<string, string>();
  const lateChains = new Set<string>();
  /** Of what is on its way into the store, as it was when it left. */
  const chainsWritten = new WeakMap<Pending, string>();
  let onStored: (() => void) | undefined;
  let cutOff = false;
  let timer: NodeJS.Timeout | undefined;

  const writer = createSpillWriter({
    store: settings.spill,
    maxBytes,
    crashPoint: setup.crashPoint,
    stored(batch, rowIds) {
      for (const [index, pending] of batch.entries()) {
        pending.spilled = true;
        written(pending, rowIds[index]);
        answer(pending, () => pending.resolve({ id: pending.outgoing.id, outcome: 'spilled' }));
      }
      report(batch);
      onStored?.();
    },
    failed(batch, error) {
      for (const pending of batch) {
        written(pending, undefined);
        answer(pending, () => pending.reject(spillFailedError(pending, error)));
      }
    },
    passed: (pending) => written(pending, undefined),
  });

  const unsubscribe = emitter.on('connection', ({ state }) => {
    cutOff = state === 'disconnected' || state === 'blocked';
    if (cutOff) for (const pending of pendings) if (isHere(pending)) begin(topicOf(pending));
    if (!cutOff) troubles.clear();
  });

  const topicOf = (pending: Pending): string => pending.outgoing.topology.topic;
  /** On the usual way, and free to leave it. */
  const isHere = (pending: Pending): boolean => pending.topic !== undefined && pending.admitted && !pending.left;

  function chainOf(pending: Pending): string | undefined {
    const { key } = pending.outgoing;
    const topic = topicOf(pending);
    return key !== undefined && destinations.get(topic)?.ordered === true ? `${topic}\n${key}` : undefined;
  }

  function begin(topic: string): Trouble {
    let trouble = troubles.get(topic);
    if (trouble === undefined) {
      trouble = { since: performance.now(), away: false, probeAt: 0, probe: undefined, undeclared: undefined };
      troubles.set(topic, trouble);
      arm();
    }
    return trouble;
  }

  function isAway({ topic, breaker }: SpillDestination): boolean {
    if (!breaker.open && !cutOff && !troubles.has(topic)) return false;
    const trouble = begin(topic);
    if (!trouble.away && (breaker.open || performance.now() - trouble.since >= spillAfterMs)) leave(topic, trouble);
    return trouble.away;
  }

  function leave(topic: string, trouble: Trouble): void {
    trouble.away = true;
    trouble.probeAt = performance.now() + PROBE_EVERY_MS;
    storeAll((pending) => topicOf(pending) === topic);
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
    if (name === undefined) return;
    let chain = chains.get(name);
    if (chain === undefined) {
      chain = { topic: topicOf(pending), writing: 0, last: undefined, line: [], lineSince: 0 };
      chains.set(name, chain);
    }
    chain.writing += 1;
    chainsWritten.set(pending, name);
  }

  function written(pending: Pending, rowId: string | undefined): void {
    const name = chainsWritten.get(pending);
    const chain = name === undefined ? undefined : chains.get(name);
    if (name === undefined || chain === undefined) return;
    chain.writing -= 1;
    if (rowId !== undefined) {
      if (chain.last !== undefined) chainOfRow.delete(chain.last.rowId);
      chain.last = { rowId, shard: shardOf(pending.outgoing.key, pending.outgoing.id) };
      chainOfRow.set(rowId, name);
    }
    free(name, chain);
  }

  /** Behind the last of its rows the key goes the usual way again. */
  function free(name: string, chain: Chain): void {
    if (chain.writing > 0 || chain.last !== undefined) return;
    chains.delete(name);
    for (const pending of chain.line) if (!pending.left) setup.direct(pending);
  }

  function report(batch: readonly Pending[]): void {
    if (!emitter.listens('spilled')) return;
    for (const [topic, spilled] of Map.groupBy(batch, topicOf)) {
      const bytes = spilled.reduce((sum, { outgoing }) => sum + outgoing.body.byteLength, 0);
      emitter.emit('spilled', { topic, count: spilled.length, bytes });
    }
  }

  function arm(): void {
    timer ??= setTimeout(look, Math.min(250, Math.max(5, spillAfterMs / 4))).unref();
  }

  function look(): void {
    timer = undefined;
    const now = performance.now();
    for (const [topic, trouble] of troubles) {
      if (!trouble.away) {
        if (now - trouble.since >= spillAfterMs) leave(topic, trouble);
      } else if (trouble.probe !== undefined && now >= trouble.probeAt) {
        // What probes has had its time, and so has what is behind it.
        trouble.probe = undefined;
        storeAll((pending) => topicOf(pending) === topic);
      }
    }
    let lines = false;
    for (const chain of chains.values()) {
      chain.line = chain.line.filter(({ left }) => !left);
      if (chain.line.length === 0) continue;
      if (now - chain.lineSince < spillAfterMs) lines = true;
      else for (const pending of chain.line.splice(0)) store(pending);
    }
    if (lines || troubles.size > 0) arm();
  }

  function takes(pending: Pending, destination: SpillDestination): boolean {
    if (pending.topic === undefined) return false;
    const away = isAway(destination);
    const name = chainOf(pending);
    const chain = name === undefined ? undefined : chains.get(name);
    if (chain !== undefined) {
      if (away) store(pending);
      else wait(chain, pending);
      return true;
    }
    if (!away) return false;
    const trouble = begin(destination.topic);
    const { probe } = trouble;
    if (name !== undefined && probe !== undefined && isHere(probe) && chainOf(probe) === name) return false;
    if (!destination.breaker.open && isProbe(trouble)) {
      trouble.probe = pending;
      return false;
    }
    store(pending);
    return true;
  }

  function isProbe(trouble: Trouble): boolean {
    const now = performance.now();
    if (now < trouble.probeAt) return false;
    trouble.probeAt = now + PROBE_EVERY_MS;
    return true;
  }

  function wait(chain: Chain, pending: Pending): void {
    if (chain.line.length === 0) chain.lineSince = performance.now();
    chain.line.push(pending);
    arm();
  }

  return {
    writer,
    get engaged() {
      return cutOff || troubles.size > 0 || chains.size > 0;
    },
    get away() {
      return cutOff || [...troubles.values()].some(({ away }) => away);
    },
    get cutOff() {
      return cutOff;
    },
    lastCall,
    limit: (limit) => ({ ...limit, patience: { ms: spillAfterMs, isAway: () => cutOff } }),
    takes,
    takeUndeclared(pending, destination) {
      const trouble = begin(destination.topic);
      if (!trouble.away) leave(destination.topic, trouble);
      trouble.undeclared ??= pending.lastError;
      store(pending);
    },
    skipsDeclaring(topic) {
      const trouble = troubles.get(topic);
      return trouble?.undeclared === undefined || isProbe(trouble) ? undefined : trouble.undeclared;
    },
    failed({ topic }) {
      const trouble = begin(topic);
      // What was probing has its answer.
      if (trouble.away) storeAll((pending) => topicOf(pending) === topic);
    },
    succeeded(topic) {
      cutOff = false;
      troubles.delete(topic);
    },
    opened(topic) {
      const trouble = begin(topic);
      if (!trouble.away) leave(topic, trouble);
    },
    late(pending) {
      if (!isHere(pending) || !isUnreachable(pending)) return;
      const name = chainOf(pending);
      if (name === undefined) return store(pending);
      // With all of its key, or what is before it could be sent after it.
      if (lateChains.size === 0) {
        queueMicrotask(() => {
          const late = new Set(lateChains);
          lateChains.clear();
          storeAll((other) => late.has(chainOf(other) ?? ''));
        });
      }
      lateChains.add(name);
    },
    takeAll: () => storeAll(() => true),
    rows(most) {
      const known = [...chains].filter(([, { last }]) => last !== undefined);
      const first = known.filter(([, { line }]) => line.length > 0);
      const rest = known.filter(([, { line }]) => line.length === 0);
      const asked = [...first, ...rest].slice(0, most);
      // The next time, others come first.
      for (const [name, chain] of asked) {
        chains.delete(name);
        chains.set(name, chain);
      }
      return asked.map(([, { last }]) => last!);
    },
    onStored(listener) {
      onStored = listener;
      return () => {
        onStored = undefined;
      };
    },
    gone(rowIds) {
      for (const rowId of rowIds) {
        const name = chainOfRow.get(rowId);
        const chain = name === undefined ? undefined : chains.get(name);
        if (name === undefined || chain === undefined) continue;
        chainOfRow.delete(rowId);
        chain.last = undefined;
        free(name, chain);
      }
    },
    close() {
      clearTimeout(timer);
      unsubscribe();
    },
  };

  /** A message that a broker in reach has refused, or is slow to confirm, is not one that it could not get. */
  function isUnreachable(pending: Pending): boolean {
    const topic = topicOf(pending);
    if (cutOff || troubles.has(topic)) return true;
    if (pending.lastError !== undefined) return setup.isTransient(pending.lastError);
    // Half of its time is gone without any confirm.
    return (destinations.get(topic)?.confirmedAt ?? 0) < (Date.now() + pending.outgoing.publishedAt) / 2;
  }
}
