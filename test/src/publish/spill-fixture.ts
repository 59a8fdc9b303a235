/** A broker in memory whose weather can change, and a store that can fail. */

import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { type MemoryBroker, memory, memoryBroker } from '../../../adapters/memory/index.ts';
import { sqliteStore } from '../../../adapters/sqlite/store.ts';
import { type Client, type ConnectOptions, connect, defineTopic, isHoldfastError } from '../../../src/index.ts';
import type { Message } from '../../../src/message.ts';
import type { SpillOptions } from '../../../src/outbox/spill-options.ts';
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

export interface Order {
  readonly key: string;
  readonly n: number;
}
export const plain = defineTopic<Order>('plain', { groups: ['g'], key: ({ key }) => key });
export const ordered = defineTopic<Order>('ordered', {
  groups: { g: { order: 'key' } },
  key: ({ key }) => key,
  partitions: 4,
});

/** Patience short enough for a test, and a circuit that stays closed. */
const closedCircuit = { minCalls: 1_000_000 };

/** A client whose broker has weather, closed after the test. */
export async function open(
  more: Partial<Omit<ConnectOptions, 'spill'>> & { readonly spill?: Partial<SpillOptions> } = {},
  reuse: { readonly watched?: Watched; readonly broker?: MemoryBroker } = {},
): Promise<{ readonly client: Client; readonly weather: Weather; readonly watched: Watched }> {
  const watched = reuse.watched ?? (await watchedStore());
  const { adapter, weather } = weatherAdapter(reuse.broker);
  const client = await connect({
    adapter,
    source: 'web',
    breaker: closedCircuit,
    ...more,
    spill: { store: watched.store, spillAfterMs: 40, ...more.spill },
  });
  onTestFinished(async () => {
    weather.now = 'fine';
    await client.close();
    if (reuse.watched === undefined) await watched.store.close();
  });
  return { client, weather, watched };
}

/** What became of a publish, in a word. */
export const outcomeOf = (publishing: Promise<{ readonly outcome: string }>): Promise<string> =>
  publishing.then(
    ({ outcome }) => outcome,
    (error: unknown) => (isHoldfastError(error) ? `${error.code} ${error.outcome}` : String(error)),
  );

export async function handled(client: Client, topic = plain): Promise<Message<Order>[]> {
  const messages: Message<Order>[] = [];
  await client.consume(topic, { group: 'g', concurrency: 100 }, (message) => void messages.push(message));
  return messages;
}
export const rowsIn = async ({ store }: Watched): Promise<number> => (await store.spill!.state()).rows;
