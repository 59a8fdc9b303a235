import assert from 'node:assert/strict';
import type { Message } from '../../src/message.ts';
import { patienceMs } from './until.ts';

/** What the suite publishes: its place among its key's messages, and enough to tell it from all others. */
export interface Order {
  readonly n: number;
  readonly key?: string;
}

/** One call of a handler, or its end. */
export interface Handling {
  readonly id: string;
  readonly n: number;
  readonly key: string | undefined;
  readonly attempt: number;
  /** Who: a consumer or process. */
  readonly by: string;
  /** Microseconds on a clock that all processes of the machine share. */
  readonly at: number;
}

/** What happened, in the order in which it was noted; and the waiting for it. */
export interface Ledger {
  readonly entries: readonly Handling[];
  note(handling: Handling): void;
  ids(): Set<string>;
  /** Entries of one message. */
  of(id: string): readonly Handling[];
  /** Waits until every one of these ids is there. */
  all(ids: Iterable<string>, withinMs?: number): Promise<void>;
  /** Waits until there are this many entries. */
  count(n: number, withinMs?: number): Promise<void>;
  /** Waits for a condition on the entries; looks whenever one is added. */
  when(what: () => string, condition: () => boolean, withinMs?: number): Promise<void>;
}

export function ledger(): Ledger {
  const entries: Handling[] = [];
  const seen = new Set<string>();
  const watchers = new Set<() => void>();
  const listeners = new Set<(handling: Handling) => void>();

  function when(what: () => string, condition: () => boolean, withinMs: number = patienceMs()): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        watchers.delete(look);
        reject(new Error(`waited ${withinMs} ms in vain for ${what()}`));
      }, withinMs);
      function look(): void {
        if (!condition()) return;
        clearTimeout(timer);
        watchers.delete(look);
        resolve();
      }
      watchers.add(look);
    });
  }

  return {
    entries,
    note(handling) {
      entries.push(handling);
      seen.add(handling.id);
      for (const hear of listeners) hear(handling);
      for (const look of [...watchers]) look();
    },
    ids: () => new Set(seen),
    of: (id) => entries.filter((entry) => entry.id === id),
    async all(ids, withinMs) {
      const missing = new Set(ids);
      const wanted = missing.size;
      for (const id of seen) missing.delete(id);
      const forget = ({ id }: Handling): void => void missing.delete(id);
      listeners.add(forget);
      const what = (): string => `${missing.size} of ${wanted} messages, the first ${missing.values().next().value}`;
      await when(what, () => missing.size === 0, withinMs).finally(() => listeners.delete(forget));
    },
    count: (n, withinMs) =>
      when(
        () => `${n} entries, had ${entries.length}`,
        () => entries.length >= n,
        withinMs,
      ),
    when,
  };
}

/** A message as the ledger notes it. */
export function handlingOf(message: Message<Order>, by: string): Handling {
  const { id, payload, key, attempt } = message;
  return { id, n: payload.n, key, attempt, by, at: nowMicros() };
}

/** `performance.now()` counts from each process's own start; this clock does not. */
export function nowMicros(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

/** G1: nothing is handled that nobody published. */
export function assertNoPhantom(handled: Ledger, attempted: Iterable<string>): void {
  const known = new Set(attempted);
  const phantoms = [...handled.ids()].filter((id) => !known.has(id));
  assert.deepEqual(phantoms, [], 'handled, but never published');
}

/** In calm weather, what is handled is handled once. */
export function assertOnce(handled: Ledger): void {
  const ids = handled.entries.map(({ id }) => id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  assert.deepEqual(twice, [], 'handled more than once');
}

/** G5: first successful handlings of each key come in the order in which its messages were accepted. */
export function assertOrder(handlings: readonly Handling[], keys: ReadonlyMap<string, readonly number[]>): void {
  const sorted = [...handlings].sort((a, b) => a.at - b.at);
  const first = new Map<string, Handling>();
  for (const handling of sorted) if (!first.has(handling.id)) first.set(handling.id, handling);
  const sequences = Map.groupBy(first.values(), ({ key }) => key ?? '');
  for (const [key, wanted] of keys) {
    const actual = (sequences.get(key) ?? []).map(({ n }) => n);
    assert.deepEqual(actual, wanted, `order of key ${key}`);
  }
}
