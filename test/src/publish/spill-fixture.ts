/** A broker in memory whose weather can change, and a store that can fail. */

import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MemoryBroker, memory, memoryBroker } from '../../../adapters/memory/index.ts';
import { sqliteStore } from '../../../adapters/sqlite/store.ts';
import type { AdapterHooks, BrokerAdapter, Outgoing, SpillEntry, SpillStore, Store } from '../../../src/port.ts';
import { Transient } from '../fake-adapter.ts';

export interface Weather {
  /**
   * `refused`: attempts fail, surely not stored. `lost`: they are stored, and the confirm is lost. `doubtful`: neither stored nor
   * confirmed, and nobody knows. `silent`: they end at their deadline, without an answer.
   */
  now: 'fine' | 'refused' | 'lost' | 'doubtful' | 'silent';
  /** Every publish call that reached the adapter. */
  readonly tried: Outgoing[];
  /** Says that the connection is lost or back, as adapters do. */
  say(type: 'connected' | 'disconnected' | 'blocked'): void;
}

export function weatherAdapter(broker: MemoryBroker = memoryBroker()): {
  readonly adapter: BrokerAdapter;
  readonly weather: Weather;
} {
  const inner = memory({ broker });
  let hooks: AdapterHooks | undefined;
  const weather: Weather = {
    now: 'fine',
    tried: [],
    say: (type) => hooks?.emit({ type }),
  };
  const adapter: BrokerAdapter = {
    ...inner,
    async connect(given) {
      hooks = given;
      await inner.connect(given);
    },
    async declare(topology) {
      if (weather.now !== 'fine') throw new Transient('the broker is away');
      await inner.declare(topology);
    },
    async publish(batch, limit) {
      weather.tried.push(...batch);
      switch (weather.now) {
        case 'fine':
          return inner.publish(batch, limit);
        case 'lost':
          await inner.publish(batch, limit);
          return batch.map(() => ({ kind: 'unknown', error: new Transient('the confirm was lost') }));
        case 'doubtful':
          return batch.map(() => ({ kind: 'unknown', error: new Transient('the connection broke') }));
        case 'silent':
          await sleep(limit.deadline - Date.now(), undefined, { signal: limit.signal }).catch(() => undefined);
          return batch.map(() => ({ kind: 'unknown', error: new Transient('no answer') }));
        default:
          return batch.map(() => ({ kind: 'rejected', error: new Transient('not connected') }));
      }
    },
    isTransient: (error) => error instanceof Transient,
  };
  return { adapter, weather };
}

export interface Watched {
  readonly store: Store<DatabaseSync>;
  /** Sizes of the calls of `add`, and what they stored. */
  readonly writes: number[];
  readonly entries: SpillEntry[];
  /** Runs before each write: may wait, or fail it. */
  before: (() => Promise<void>) | undefined;
}

export async function watchedStore(path = ':memory:'): Promise<Watched> {
  const store = sqliteStore({ path, source: 'shop' });
  await store.migrate();
  const { spill } = store as { spill: SpillStore };
  const watched: Watched = {
    writes: [],
    entries: [],
    before: undefined,
    store: {
      ...store,
      spill: {
        ...spill,
        async add(entries) {
          await watched.before?.();
          watched.writes.push(entries.length);
          watched.entries.push(...entries);
          return spill.add(entries);
        },
      },
    },
  };
  return watched;
}

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 20_000,
): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${withinMs} ms in vain until ${what}`);
    await sleep(5);
  }
}
