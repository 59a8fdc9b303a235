import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Client, Handler, PublishOptions } from '../../src/client.ts';
import { connect } from '../../src/connect.ts';
import type { ConnectOptions } from '../../src/connect-options.ts';
import type { Consumer } from '../../src/consume/consumer.ts';
import type { ConsumeOptions } from '../../src/consume/options.ts';
import type { Topic } from '../../src/topic.ts';
import { deadlineWatch } from './deadline-watch.ts';
import { handlingOf, type Ledger, ledger, type Order } from './ledger.ts';
import { type Observed, observed } from './observe.ts';
import type { BrokerSuiteOptions, PrivateServer } from './options.ts';
import { type ProcessScript, scriptedTopic, type TopicScript } from './script.ts';
import { type Gate, gate } from './until.ts';
import { makeVictim, type Victim } from './victim.ts';

/** What a case works with. All that it opens is closed when the case ends, also when it fails. */
export interface World {
  readonly suite: BrokerSuiteOptions;
  /** A topic name that no other case has. */
  name(): string;
  /** A topic of orders; by default with one unordered group `g`. */
  script(more?: Partial<TopicScript>): TopicScript;
  topic(more?: Partial<TopicScript>): Topic<Order>;
  client(options?: Partial<ConnectOptions>): Promise<Client>;
  /** A client whose adapter is watched at the port. */
  watched(): Promise<{ readonly client: Client; readonly seen: Observed }>;
  victim(name: string, script?: ProcessScript): Promise<Victim>;
  server(): Promise<PrivateServer>;
  /** Opened at the latest when the case ends, so that no handler hangs in it. */
  gate(): Gate;
  /** Consumes orders into a ledger; `work` runs before each is noted as handled. */
  consume(
    client: Client,
    topic: Topic<Order>,
    options: ConsumeOptions,
    work?: Handler<Order, undefined>,
  ): Promise<Consumed>;
  defer(cleanup: () => unknown): void;
}

export interface Consumed {
  readonly consumer: Consumer;
  readonly started: Ledger;
  readonly handled: Ledger;
}

/** Publishes `count` orders with ids `<prefix><n>`, confirmed; returns the ids. */
export async function publishOrders(
  client: Client,
  topic: Topic<Order>,
  count: number,
  {
    prefix = 'm-',
    from = 0,
    options = {},
  }: { readonly prefix?: string; readonly from?: number; readonly options?: PublishOptions } = {},
): Promise<readonly string[]> {
  const orders = Array.from({ length: count }, (_, index): Order => ({ n: from + index }));
  const results = await client.publishAll(topic, orders, ({ n }) => ({ ...options, id: `${prefix}${n}` }));
  return results.map((result) => {
    if (!result.ok) throw result.error;
    return result.receipt.id;
  });
}

/** Runs a case in a world of its own. */
export async function inWorld(suite: BrokerSuiteOptions, run: (world: World) => Promise<void>): Promise<void> {
  const cleanups: (() => unknown)[] = [];
  const gates: Gate[] = [];
  const victims: Victim[] = [];
  const said: string[] = [];
  const short = randomUUID().slice(0, 8);
  let names = 0;
  const deadlines = deadlineWatch();
  const defer = (cleanup: () => unknown): void => void cleanups.push(cleanup);

  async function open(
    adapter: ReturnType<BrokerSuiteOptions['adapter']>,
    options: Partial<ConnectOptions>,
  ): Promise<Client> {
    const client = deadlines.watch(await connect({ adapter, source: 'conformance', ...options }));
    client.on('error', ({ during, error }) => said.push(`error during ${during}: ${String(error)}`));
    client.on('unsettled', ({ group, stale, unknown }) =>
      said.push(`unsettled in ${group}: ${stale} stale, ${unknown} unknown`),
    );
    client.on(
      'connection',
      ({ state, detail }) => state === 'connected' || said.push(`connection ${state} ${detail ?? ''}`),
    );
    defer(() => client.close({ drainMs: 2_000 }));
    return client;
  }

  const world: World = {
    suite,
    name: () => `conformance-${short}-${names++}`,
    script: (more = {}) => ({ name: world.name(), groups: { g: 'none' }, ...more }),
    topic: (more) => scriptedTopic(world.script(more)),
    client: (options = {}) => open(options.adapter ?? suite.adapter(), options),
    async watched() {
      const { adapter, seen } = observed(suite.adapter());
      return { client: await open(adapter, {}), seen };
    },
    async victim(name, script) {
      const victim = await makeVictim(suite, name, script);
      victims.push(victim);
      defer(() => victim.kill());
      return victim;
    },
    async server() {
      const server = await suite.server!();
      defer(() => server.stop());
      return server;
    },
    gate() {
      const made = gate();
      gates.push(made);
      return made;
    },
    async consume(client, topic, options, work) {
      const [started, handled] = [ledger(), ledger()];
      const by = `consumer ${names++}`;
      const consumer = await client.consume(topic, options, async (message, context) => {
        started.note(handlingOf(message, by));
        await work?.(message, context);
        handled.note(handlingOf(message, by));
      });
      return { consumer, started, handled };
    },
    defer,
  };

  try {
    await run(world);
    assert.deepEqual(deadlines.late, [], 'publishes without an outcome a second after their deadline');
  } catch (error) {
    const all = [...said, ...victims.flatMap((victim) => victim.said.map((line) => `process ${victim.name}: ${line}`))];
    if (error instanceof Error && all.length > 0) error.message += `\n  clients said: ${all.slice(-20).join('\n    ')}`;
    throw error;
  } finally {
    deadlines.end();
    for (const each of gates) each.open();
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}
