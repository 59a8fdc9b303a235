/** The three ways of a message to the broker. What an earlier process has surely published is not published again. */

import type { Client } from '../../src/client.ts';
import { createRelay } from '../../src/outbox/relay.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import type { Topic } from '../../src/topic.ts';
import type { Route } from './case.ts';
import type { LedgerFile } from './ledger.ts';
import { DELAY_MS, idOf, numbers, type Payload, payloadOf, ROLLED_BACK } from './messages.ts';
import type { Stores } from './stores.ts';
import { until } from './until.ts';

export interface Publishing {
  readonly client: Client;
  readonly topic: Topic<Payload>;
  readonly stores: Stores;
  /** Each is to be handled some time after its publishing. */
  readonly delayed: boolean;
  readonly ledger: LedgerFile;
  /** Accepted in an earlier life. */
  readonly accepted: ReadonlySet<number>;
  readonly crashPoint: (name: string) => void;
  /** The broker is away, as far as this client can see. */
  readonly weather: Weather;
}
export interface Weather {
  away: boolean;
}

/** Fulfils when all are accepted and nothing waits to be sent. Relays that it starts end with the client. */
export async function publishAll(publishing: Publishing, route: Route): Promise<void> {
  if (route === 'outbox') return throughOutbox(publishing);
  if (route === 'spill') return spilling(publishing);
  return directly(publishing);
}

async function directly({ client, topic, ledger, accepted, delayed }: Publishing): Promise<void> {
  const options = delayed ? { delayMs: DELAY_MS } : {};
  const publish = async (n: number): Promise<void> => {
    ledger.write({ event: 'begin', n });
    try {
      await client.publish(topic, payloadOf(n), { ...options, id: idOf(n) });
      ledger.write({ event: 'accepted', n });
    } catch (error) {
      ledger.write({ event: 'failed', n, error: String(error) });
    }
  };
  await Promise.all(numbers.filter((n) => !accepted.has(n)).map(publish));
}

/** Order holds per process only: what is in the store from before is sent before anything is published. */
async function spilling(publishing: Publishing): Promise<void> {
  const { accepted, stores, weather } = publishing;
  const sent = async (): Promise<boolean> => (await stores.spill.spill!.state()).rows === 0;
  if (accepted.size > 0) await until('what was spilled before is sent', sent);
  weather.away = accepted.size < numbers.length;
  await directly(publishing);
  weather.away = false;
  await until('what was spilled is sent', sent);
}

async function throughOutbox({ client, topic, stores, ledger, crashPoint }: Publishing): Promise<void> {
  const { outbox } = stores.store;
  const relay = createRelay({ client, outbox, leaseMs: 600, maxIdleMs: 50 });
  await relay.start();
  const done = new Set((await stores.read()).business);
  for (const n of numbers.filter((each) => !done.has(each))) {
    ledger.write({ event: 'begin', n });
    await outbox.transaction(async (tx) => {
      await stores.business(tx, n);
      await outbox.add(tx, topic, payloadOf(n), { id: idOf(n) });
      crashPoint('outbox:added');
    });
    crashPoint('outbox:committed');
    ledger.write({ event: 'accepted', n });
    if (n === 2) await rollBack(stores, topic);
  }
  await until('the outbox is empty', async () => (await outbox.relay.pending()).total === 0);
}

async function rollBack({ store: { outbox } }: Stores, topic: Topic<Payload>): Promise<void> {
  const changedMind = new Error('rolled back');
  await outbox
    .transaction(async (tx) => {
      await outbox.add(tx, topic, payloadOf(ROLLED_BACK), { id: idOf(ROLLED_BACK) });
      throw changedMind;
    })
    .catch((error: unknown) => {
      if (error !== changedMind) throw error;
    });
}

/** The same adapter, whose publishes are refused while the broker is away. */
export function underWeather(adapter: BrokerAdapter, weather: Weather): BrokerAdapter {
  const refused = new Error('the broker is away');
  return {
    ...adapter,
    publish: async (batch, limit) =>
      weather.away ? batch.map(() => ({ kind: 'rejected', error: refused })) : adapter.publish(batch, limit),
    isTransient: (error) => error === refused || adapter.isTransient(error),
  };
}
