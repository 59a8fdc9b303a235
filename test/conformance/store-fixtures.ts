import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntrySource, OutboxEntry, OutboxRow, ShardLease, Store } from '../../src/port.ts';

/** A migrated store with nothing in it, and what the suite must be able to do around it. */
export interface StoreUnderTest<Tx> {
  readonly store: Store<Tx>;
  /** A second store on the same data, with connections of its own, as another process would have it. */
  readonly other: Store<Tx>;
  /** Writes a row into a table of the user's own by the transaction. */
  write(tx: Tx, text: string): void | Promise<void>;
  /** The committed rows of that table. */
  written(): Promise<readonly string[]>;
  /** Closes both stores and removes the data. */
  close(): Promise<void>;
}

export interface StoreSuiteOptions<Tx> {
  /** `it` of vitest, `test` of `node:test`, or anything that takes a title and an async function. */
  readonly it: (title: string, run: () => Promise<void>) => unknown;
  readonly open: () => Promise<StoreUnderTest<Tx>>;
}

/** Runs each case on a store of its own. */
export function storeCases<Tx>({ it, open }: StoreSuiteOptions<Tx>) {
  return (title: string, run: (under: StoreUnderTest<Tx>) => Promise<void>): void => {
    it(title, async () => {
      const under = await open();
      try {
        await run(under);
      } finally {
        await under.close();
      }
    });
  };
}

/** A topic that takes each payload for a part of its own entry. */
export function topicOf(topic = `t-${randomUUID()}`): EntrySource<Partial<OutboxEntry>> & { readonly topic: string } {
  const shape = JSON.stringify({ topic, groups: [{ name: 'g', ordered: true }], partitions: 6, lanes: false });
  return {
    topic,
    async toEntry(payload, options) {
      const id = payload.id ?? options?.id ?? randomUUID();
      const key = payload.key ?? options?.key;
      return {
        shard: shardOf(key ?? id),
        shape,
        topic,
        key,
        dedupeKey: undefined,
        lane: 'normal',
        headers: {},
        contentType: 'application/json',
        body: new TextEncoder().encode('{}'),
        delayMs: options?.delayMs ?? 0,
        expiresInMs: options?.expiresInMs,
        ...payload,
        id,
      };
    },
  };
}

function shardOf(text: string): number {
  return [...text].reduce((sum, character) => (sum * 31 + character.codePointAt(0)!) % 64, 7);
}

/** Adds entries by one committed transaction and returns their ids. */
export async function added<Tx>(
  { outbox }: Store<Tx>,
  topic: EntrySource<Partial<OutboxEntry>>,
  ...entries: readonly Partial<OutboxEntry>[]
): Promise<readonly string[]> {
  const results = await outbox.transaction((tx) => outbox.addAll(tx, topic, entries));
  return results.map(({ id }) => id);
}

/** All that one relay which holds every shard would read now. */
export async function readAll<Tx>(
  { outbox: { relay } }: Store<Tx>,
  limit = 1000,
): Promise<{
  readonly leases: readonly ShardLease[];
  readonly rows: readonly OutboxRow[];
  readonly ids: readonly string[];
}> {
  const leases = await relay.lease('the only relay', 60_000);
  const rows = await relay.read(leases, limit);
  return { leases, rows, ids: rows.map(({ id }) => id) };
}

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 15_000,
): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${withinMs} ms in vain until ${what}`);
    await sleep(5);
  }
}

/** A promise to be settled from outside. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: () => resolve() };
}
