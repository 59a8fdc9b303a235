/** The database as one process reaches it through bad weather: an outbox, its relay's side, and an inbox. */

import type { EntrySource, Inbox, OutboxAddOptions, OutboxEntry, OutboxRelayStore } from '../../src/port.ts';
import type { Random } from './random.ts';
import { claimName, type Effect, SHARDS, type SimDatabase, type StoredRow } from './sim-database.ts';
import { type Life, never, type Sabotage, sleep, type Weather } from './weather.ts';

export class StoreAway extends Error {}

export interface Tx {
  effect(effect: Effect): void;
  readonly entries: OutboxEntry[];
}

export interface FlakyStore {
  readonly relay: OutboxRelayStore;
  readonly inbox: Inbox<Tx>;
  add<I>(tx: Tx, topic: EntrySource<I>, payload: I, options: OutboxAddOptions): Promise<{ readonly id: string }>;
  /** Rejects with what `work` threw, or with StoreAway: the commit's reply may be lost, then it is committed all the same. */
  transaction(work: (tx: Tx) => Promise<void>): Promise<void>;
}

export interface FlakyStoreSetup {
  readonly random: Random;
  readonly weather: Weather;
  readonly life: Life;
  readonly sabotage: Sabotage | undefined;
}

export function flakyStore(
  db: SimDatabase,
  source: string,
  { random, weather, life, sabotage }: FlakyStoreSetup,
): FlakyStore {
  const listeners = new Set<() => void>();

  /** One statement: it may not arrive, and its reply may be lost. */
  async function statement<T>(apply: () => T): Promise<T> {
    await sleep(random.next() * weather.latencyMs);
    if (!life.alive) return never;
    if (weather.storeAway || random.chance(weather.storeFails)) throw new StoreAway('the database is away');
    const result = apply();
    const lost = random.chance(weather.storeReplyLost);
    await sleep(random.next() * weather.latencyMs);
    if (!life.alive) return never;
    if (lost) throw new StoreAway('the reply was lost');
    return result;
  }

  function rowFor(entry: OutboxEntry): Omit<StoredRow, 'rowId'> {
    const addedAt = Date.now();
    return { ...entry, source, attempts: 0, failures: 0, addedAt, dueAt: addedAt, parked: undefined };
  }

  const relay: OutboxRelayStore = {
    shards: SHARDS,
    lease: (owner, ttlMs) => statement(() => db.lease(owner, ttlMs)),
    release: (owner) => statement(() => db.release(owner)),
    read: (leases, limit) =>
      statement(() => {
        const held = new Set(
          leases.filter(({ shard, epoch }) => db.epochOf(shard) === epoch).map(({ shard }) => shard),
        );
        const waiting = new Set<string>();
        const found: StoredRow[] = [];
        for (const row of db.rows) {
          if (row.parked !== undefined || !held.has(row.shard)) continue;
          const name = `${row.topic}\n${row.key}`;
          const blocked = row.key !== undefined && waiting.has(name);
          if (blocked || row.dueAt > Date.now()) waiting.add(name);
          else if (found.length < limit) found.push({ ...row, attempts: row.failures });
        }
        if (sabotage === 'deletes-what-is-read')
          for (const { rowId } of found)
            db.rows.splice(
              db.rows.findIndex((row) => row.rowId === rowId),
              1,
            );
        return found;
      }),
    settle: (leases, settlements) =>
      statement(() =>
        settlements.flatMap(({ rowId, shard, kind, reason, delayMs }) => {
          const ours = leases.some((lease) => lease.shard === shard && lease.epoch === db.epochOf(shard));
          const index = db.rows.findIndex((row) => row.rowId === rowId);
          if (!ours || index === -1) return [];
          const row = db.rows[index]!;
          if (kind === 'sent') db.rows.splice(index, 1);
          else if (kind === 'park') row.parked = reason ?? 'parked';
          else {
            row.failures += 1;
            row.dueAt = Date.now() + (delayMs ?? 0);
          }
          return [rowId];
        }),
      ),
    pending: () =>
      statement(() => {
        const open = db.rows.filter((row) => row.parked === undefined);
        return { due: open.some((row) => row.dueAt <= Date.now()), total: open.length, oldestAgeMs: undefined };
      }),
    onWake(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };

  const inbox: Inbox<Tx> = {
    kind: 'simulated',
    maxTransactions: 4,
    async run(claims, signal, work) {
      const names = claims.map(claimName);
      await statement(() => undefined);
      // A unique index makes the second claimant wait for the first.
      for (const name of [...names].sort()) while (db.locks.has(name)) await db.locks.get(name);
      if (!life.alive) await never;
      const { promise, resolve } = Promise.withResolvers<void>();
      for (const name of names) db.locks.set(name, promise);
      const end = (): void => {
        // Called again when its process dies: by then another transaction may hold them.
        for (const name of names) if (db.locks.get(name) === promise) db.locks.delete(name);
        resolve();
      };
      life.ends.push(end);
      try {
        const fresh = names.flatMap((name, index) =>
          db.handled.has(name) || names.indexOf(name) < index ? [] : [index],
        );
        const effects: Effect[] = [];
        const revoked = (): void => {
          if (signal.aborted) throw signal.reason;
        };
        const tx: Tx = {
          entries: [],
          effect(effect) {
            revoked();
            effects.push(effect);
          },
        };
        if (fresh.length > 0) await work(tx, fresh);
        revoked();
        await statement(() => {
          revoked();
          if (sabotage !== 'inbox-forgets') for (const index of fresh) db.handled.add(names[index]!);
          db.effects.push(...effects);
        });
        return fresh;
      } finally {
        end();
      }
    },
    seen: (claims) => statement(() => claims.map((claim) => db.handled.has(claimName(claim)))),
  };

  return {
    relay,
    inbox,
    async add(tx, topic, payload, options) {
      const entry = await topic.toEntry(payload, options);
      tx.entries.push(entry);
      return { id: entry.id };
    },
    async transaction(work) {
      const tx: Tx = { entries: [], effect: () => undefined };
      await work(tx);
      await statement(() => db.insert(tx.entries.map(rowFor)));
      for (const wake of [...listeners]) wake();
    },
  };
}
