/** One process of a world: a client with its consumers and a relay, which may die or be restarted. */

import { type MemoryBroker, memory } from '../../adapters/memory/index.ts';
import {
  type BatchHandler,
  type Client,
  connect,
  createRelay,
  DeadLetter,
  type Handler,
  RetryLater,
  type Topic,
} from '../../src/index.ts';
import type { Outbox } from '../../src/port.ts';
import { flakyBroker } from './flaky-broker.ts';
import { type FlakyStore, flakyStore, type Tx } from './flaky-store.ts';
import type { Ledger } from './ledger.ts';
import type { Plan, PlannedGroup, PlannedMessage } from './plan.ts';
import type { Random } from './random.ts';
import type { SimDatabase } from './sim-database.ts';
import { type Life, never, type Sabotage, sleep, type Weather } from './weather.ts';

export interface Payload {
  readonly id: string;
  readonly key: string;
  readonly lane?: 'high' | 'normal' | 'low';
}

export interface World {
  readonly plan: Plan;
  readonly random: Random;
  readonly weather: Weather;
  readonly broker: MemoryBroker;
  readonly db: SimDatabase;
  readonly ledger: Ledger;
  readonly topic: Topic<Payload, Payload>;
  readonly copies: Map<string, number>;
  readonly sabotage: Sabotage | undefined;
}

export interface Process {
  readonly client: Client;
  readonly store: FlakyStore;
  readonly life: Life;
  disconnect(): void;
  crash(): void;
}

/** Resolves when its consumers and its relay run, however often it takes. It may have died meanwhile. */
export async function startProcess(world: World, onKill: () => void): Promise<Process> {
  const { plan, random, weather, broker, db, copies, ledger, sabotage } = world;
  const life: Life = { alive: true, ends: [] };
  const adapter = memory({ broker });
  const flaky = flakyBroker({
    memory: adapter,
    random,
    weather,
    life,
    flow: plan.flow,
    copies,
    sabotage,
    onLost() {
      ledger.disturbed += 1;
    },
  });
  const store = flakyStore(db, 'sim', { random, weather, life, sabotage });
  const client = await persist(() => connect({ adapter: flaky, source: 'sim', breaker: { minCalls: 3 } }));
  const started: Process = {
    client,
    store,
    life,
    disconnect() {
      ledger.disturbed += 1;
      adapter.disconnect();
    },
    crash() {
      if (!life.alive) return;
      ledger.disturbed += 1;
      life.alive = false;
      for (const end of life.ends.splice(0)) end();
      adapter.crash();
    },
  };
  const die = (): Promise<never> => {
    started.crash();
    onKill();
    return never;
  };
  const relay = createRelay({ client, outbox: { relay: store.relay } as unknown as Outbox<Tx> });
  await persist(() => relay.start());
  for (const group of plan.groups) await persist(() => consume(world, started, group, die));
  return started;
}

/** As a supervisor does: again, until it works. */
async function persist<T>(start: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await start();
    } catch {
      await sleep(200);
    }
  }
}

function consume(world: World, { client, store, life }: Process, group: PlannedGroup, die: () => Promise<never>) {
  const { ledger, plan, random, topic } = world;
  const seen = ledger.groups.get(group.name)!;
  const planned = new Map(plan.messages.map((message) => [message.id, message]));

  async function handleOne(id: string, attempt: number, payload: Payload, tx: Tx | undefined): Promise<void> {
    if (!life.alive) return never;
    const message = planned.get(id)!;
    if (message === undefined || JSON.stringify(payload) !== JSON.stringify(payloadOf(message)))
      ledger.altered.push(id);
    const call = { id, attempt, failed: false };
    seen.calls.push(call);
    const calls = seen.calls.filter((each) => each.id === id).length;
    const fail = (error: Error): never => {
      call.failed = true;
      throw error;
    };
    await sleep(random.next() * 20);
    if (!life.alive) return never;
    switch (message.behaviour) {
      case 'kills':
        return die();
      case 'fails':
        // A breaker spends no attempts: what always fails, and alone, would hold it open for ever.
        if (group.breaker && calls > 12) break;
        return fail(new TypeError('it always fails'));
      case 'late':
        if (calls <= message.failures) return fail(new Error('not yet'));
        break;
      case 'dead-letters':
        return fail(new DeadLetter('refused'));
      case 'asks-for-later':
        if (calls === 1) return fail(new RetryLater(300));
        break;
      case 'hangs':
        if (calls === 1) {
          call.failed = true;
          return never;
        }
        break;
      default:
    }
    if (tx === undefined) seen.effects.push(id);
    else tx.effect({ group: group.name, id });
  }

  const options = {
    group: group.name,
    concurrency: group.concurrency,
    prefetch: group.prefetch,
    timeoutMs: group.timeoutMs,
    retry: { immediate: { retries: group.immediate, firstMs: 20 }, delays: group.delays },
    ...(group.breaker ? { breaker: { failures: 4, resetMs: 500 } } : {}),
    ...(group.guard === 'inbox' ? { inbox: store.inbox } : {}),
  };
  const each: Handler<Payload, Tx | undefined> = (message, { tx }) =>
    handleOne(message.id, message.attempt, message.payload, tx);
  const many: BatchHandler<Payload, Tx | undefined> = async (messages, { tx, fail }) => {
    for (const message of messages) {
      try {
        await handleOne(message.id, message.attempt, message.payload, tx);
      } catch (error) {
        fail(message, error);
      }
    }
  };
  return group.batch === 1
    ? client.consume(topic, options as never, each as never)
    : client.consumeBatches(topic, { ...options, batch: { size: group.batch } } as never, many as never);
}

export const payloadOf = ({ id, key, lane }: PlannedMessage): Payload => ({ id, key, ...(lane && { lane }) });
