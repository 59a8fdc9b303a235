import type {
  AdapterHealth,
  AdapterHooks,
  BrokerAdapter,
  Capabilities,
  Receive,
  Source,
  Subscription,
  Topology,
} from '../../src/port.ts';
import { backlog } from './backlog.ts';
import { brokerClock } from './clock.ts';
import { type KafkaSource, subscribe } from './consume.ts';
import type { Context } from './context.ts';
import { deadLetters } from './dead-letters.ts';
import { type DelayPumps, delayPumps } from './delays.ts';
import { promised } from './durability.ts';
import { adapterError, messageOf } from './errors.ts';
import { isTransient } from './kafkajs/errors.ts';
import { kafkajsClient } from './kafkajs.ts';
import { groupId } from './names.ts';
import { type KafkaOptions, type Settings, settingsOf } from './options.ts';
import { publisher } from './publish.ts';
import { openSender } from './sender.ts';
import { topologyStore } from './topology.ts';
import { within } from './within.ts';

export type { KafkaOptions } from './options.ts';

const PING_MS = 2_000;
/** How long `close` waits for subscriptions that have just begun. */
const STARTING_MS = 2_000;

/** Everything that lives from `connect` to `close`. */
interface Running extends Context {
  readonly publish: ReturnType<typeof publisher>;
  readonly pumps: DelayPumps;
  readonly sources: Set<KafkaSource>;
  /** Subscriptions that are not done yet; closed under, they end themselves. */
  readonly starting: Set<Promise<Source>>;
}

/**
 * Kafka 3.x and 4.x, by kafkajs.
 *
 * A confirm means that all in-sync replicas have the message (`acks=all`), from an idempotent producer. With
 * `replication: 1` that is one broker's memory. A finished message is committed within a second: a consumer that dies
 * hands out again what it finished last.
 */
export function kafka(options: KafkaOptions): BrokerAdapter {
  const settings = settingsOf(options);
  let running: Running | undefined;
  let closing: Promise<void> | undefined;

  function connected(): Running {
    if (running === undefined) throw adapterError('broker-unreachable', 'the Kafka adapter is not connected');
    return running;
  }

  async function connect(hooks: AdapterHooks): Promise<void> {
    if (running !== undefined) return;
    const clientId = settings.clientId ?? hooks.clientName;
    const client = await kafkajsClient(settings, clientId, (code, detail) =>
      hooks.emit({ type: 'warning', code, detail }),
    );
    await client.connect();
    const clock = brokerClock();
    const sender = openSender(client, clock, settings.requestTimeoutMs);
    const topology = topologyStore(client, settings, hooks);
    const base: Context = { settings, hooks, client, clock, sender, topology };
    const pumps = delayPumps(base);
    const context: Context = { ...base, topology: { ...topology, declareDelays: (given) => declareDelays(given) } };
    async function declareDelays(given: Topology): Promise<void> {
      await topology.declareDelays(given);
      pumps.created(given);
    }
    running = { ...context, publish: publisher(context), pumps, sources: new Set(), starting: new Set() };
    hooks.emit({ type: 'connected' });
  }

  async function start(was: Running, subscription: Subscription, receive: Receive): Promise<Source> {
    const { topology, pumps, sources } = was;
    await topology.declare(subscription.topology);
    await topology.declareGroup(subscription.topology, subscription.group);
    const source = await subscribe(was, subscription, receive);
    if (running !== was) {
      await source.stop();
      throw adapterError('broker-unreachable', 'the Kafka adapter was closed while it subscribed');
    }
    sources.add(source);
    // Delay and order exclude each other: a topic with an ordered group has no delayed publishes.
    const ordered = subscription.ordered || subscription.topology.groups.some((group) => group.ordered);
    const enough = ordered ? async () => {} : pumps.want(subscription.topology);
    return {
      ...source,
      async stop() {
        sources.delete(source);
        await Promise.all([source.stop(), enough()]);
      },
    };
  }

  return {
    name: 'kafka',
    capabilities: capabilitiesOf(settings),
    connect,
    declare: async (topology) => connected().topology.declare(topology),
    async publish(batch, { deadline, signal }) {
      try {
        signal.throwIfAborted();
        return await connected().publish(batch, deadline);
      } catch (error) {
        return batch.map(() => ({ kind: 'rejected', error }));
      }
    },
    async subscribe(subscription, receive) {
      const was = connected();
      const started = start(was, subscription, receive);
      was.starting.add(started);
      try {
        return await started;
      } finally {
        was.starting.delete(started);
      }
    },
    deadLetters: (topology, group) => deadLetters(connected(), topology, group),
    async backlog(topology, group) {
      const context = connected();
      const id = groupId(topology.topic, group);
      for (const source of context.sources) if (source.group === id) await source.commit().catch(() => {});
      return await backlog(context, topology, group);
    },
    async health() {
      if (running === undefined) return { connected: false, checks: [] };
      const problem = await ping(running);
      const broker = {
        name: 'broker',
        ok: problem === undefined,
        ...(problem === undefined ? {} : { detail: problem }),
      };
      return {
        connected: problem === undefined,
        checks: [broker, ...durability(running), ...[...running.sources].map((source) => source.health())],
      };
    },
    isTransient(error) {
      const code = (error as { adapterCode?: unknown } | null)?.adapterCode;
      return code === undefined ? isTransient(error) : code === 'broker-unreachable' || code === 'busy';
    },
    async close() {
      const was = running;
      running = undefined;
      if (was !== undefined) closing = shut(was);
      await closing;
    },
  };
}

async function shut({ sources, starting, pumps, sender, client, hooks }: Running): Promise<void> {
  const stopping = [...sources].map((source) => source.stop());
  // While there are sockets: a member that cannot say goodbye would be waited for by its group, for a whole session.
  await Promise.all([pumps.close(), ...stopping, within(Promise.allSettled(starting), STARTING_MS)]);
  await sender.close();
  await client.close();
  hooks.emit({ type: 'disconnected' });
}

/** A check only where the options promise something. */
function durability({ settings, topology }: Running): AdapterHealth['checks'] {
  const [detail] = topology.weaknesses();
  return promised(settings)
    ? [{ name: 'durability', ok: detail === undefined, ...(detail === undefined ? {} : { detail }) }]
    : [];
}

async function ping({ client }: Context): Promise<string | undefined> {
  const answer = client.ping().then(() => 'ok', messageOf);
  const said = (await within(answer, PING_MS)) ?? `no answer within ${PING_MS} ms`;
  return said === 'ok' ? undefined : said;
}

function capabilitiesOf(settings: Settings): Capabilities {
  return {
    // Kafka confirms from memory and relies on replicas; how many, where the broker decides, is not known here.
    durability: promised(settings) ? 'replicated' : 'memory',
    multiProcess: true,
    order: 'native',
    priority: 'emulated',
    delayedPublish: 'emulated',
    delayedRetry: 'emulated',
    delayPrecision: 'rungs',
    deadLetters: 'emulated',
    publishDedupe: 'none',
    atomicMoves: false,
    history: true,
    unroutable: false,
    leases: false,
    backlog: ['ready', 'delayed', 'dead'],
    defaultPartitions: 6,
    stablePositions: true,
    marks: true,
    maxBodyBytes: 1024 * 1024,
    flow: { batchMessages: 1_000, batchBytes: 900_000, window: 1, exclusive: 'partition' },
  };
}
