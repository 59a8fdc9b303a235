import type { Redis } from 'ioredis';
import type {
  AdapterError,
  AdapterHealth,
  AdapterHooks,
  BrokerAdapter,
  Capabilities,
  Source,
  Topology,
} from '../../src/port.ts';
import { backlogOf } from './backlog.ts';
import { type Link, loadClient, openLink, type RedisClass } from './connection.ts';
import { subscribe } from './consume.ts';
import { deadLetterStore } from './dead-letters.ts';
import { isTransient, messageOf, notConnected } from './errors.ts';
import { checkServer, inspectServer, serverChecks } from './health.ts';
import { groupKey, streamSuffixes } from './keys.ts';
import { type RedisOptions, type Settings, settingsOf } from './options.ts';
import { publish } from './publish.ts';
import { declareTopology } from './topology.ts';

export { redisDedupe } from './dedupe.ts';
export type { RedisCaller, RedisDedupeOptions } from './dedupe-options.ts';
export type { RedisOptions } from './options.ts';

/**
 * Redis ≥ 7.0 or Valkey, by Streams and Lua: every publish, settlement and move is one atomic step on the server.
 *
 * Durable as the server is: see `durability`. A failover loses what had not reached the new primary.
 */
export function redis(options: RedisOptions): BrokerAdapter {
  const settings = settingsOf(options);
  const declared = new Map<string, Topology>();
  let open: Open | undefined;

  const opened = (): Open => {
    if (open === undefined) throw notConnected();
    return open;
  };
  const groupOf = (topology: Topology, group: string): string => groupKey(settings.prefix, topology.topic, group);

  async function connect(hooks: AdapterHooks): Promise<void> {
    const Client = await loadClient();
    const name = (hooks.clientName || 'holdfast').replace(/[^\x21-\x7e]/g, '_');
    const control = await openLink(Client, settings, name, {
      async onUp(client) {
        const facts = await inspectServer(client);
        checkServer(facts, settings);
        for (const topology of declared.values()) await declareAgain(client, topology, hooks);
        for (const { name: code, ok, detail } of serverChecks(facts, settings))
          if (!ok) hooks.emit({ type: 'warning', code, detail: detail ?? code });
        hooks.emit({ type: 'connected' });
      },
      onDown: (error) => hooks.emit({ type: 'disconnected', detail: error.message }),
    });
    let publisher: Promise<Link> | undefined;
    const links = new Set([control]);
    open = {
      Client,
      hooks,
      name,
      control,
      links,
      sources: new Set(),
      publisher() {
        publisher ??= openLink(Client, settings, `${name}:publish`).then(
          (link) => {
            // Closed in the meantime.
            if (control.closed) link.close();
            else links.add(link);
            return link;
          },
          (error) => {
            publisher = undefined;
            throw error;
          },
        );
        return publisher;
      },
    };
  }

  /** What has changed since is told, and no reason to stay away: an old instance goes on beside the new ones. */
  async function declareAgain(client: Redis, topology: Topology, hooks: AdapterHooks): Promise<void> {
    try {
      await declareTopology(client, settings.prefix, topology, hooks.declare);
    } catch (error) {
      const code = (error as Partial<AdapterError>).adapterCode;
      if (code === undefined) throw error;
      hooks.emit({ type: 'warning', code, detail: messageOf(error) });
    }
  }

  async function declare(topology: Topology): Promise<void> {
    const { control, hooks } = opened();
    await control.use((client) => declareTopology(client, settings.prefix, topology, hooks.declare));
    const before = declared.get(topology.topic)?.groups ?? [];
    const groups = new Map([...before, ...topology.groups].map((group) => [group.name, group]));
    declared.set(topology.topic, { ...topology, groups: [...groups.values()] });
  }

  async function health(): Promise<AdapterHealth> {
    if (!open?.control.connected) return { connected: false, checks: [] };
    try {
      const facts = await open.control.use(inspectServer);
      return { connected: true, checks: serverChecks(facts, settings) };
    } catch (error) {
      return { connected: false, checks: [{ name: 'server', ok: false, detail: messageOf(error) }] };
    }
  }

  return {
    name: 'redis',
    capabilities: capabilitiesOf(settings),
    connect,
    declare,
    publish(batch, limit) {
      const link = async (): Promise<Link> => await opened().publisher();
      // Closed or not yet connected, it answers all the same.
      const crashPoint = open?.hooks.crashPoint;
      return publish({ settings, crashPoint, link, redeclare: declare }, batch, limit);
    },
    async subscribe(subscription, receive) {
      const { Client, control, hooks, name, sources } = opened();
      const { instance, crashPoint } = hooks;
      const connectionName = `${name}:${subscription.group}`;
      const needs = { Client, settings, control, connectionName, instance, crashPoint };
      const opening = subscribe(needs, subscription, receive);
      sources.add(opening);
      const source = await opening.catch((error: unknown) => {
        sources.delete(opening);
        throw error;
      });
      return {
        ...source,
        async stop() {
          await source.stop();
          sources.delete(opening);
        },
      };
    },
    deadLetters(topology, group) {
      const { control, hooks } = opened();
      return deadLetterStore({ settings, control, crashPoint: hooks.crashPoint }, groupOf(topology, group));
    },
    async backlog(topology, group) {
      const ordered = topology.groups.find(({ name }) => name === group)?.ordered ?? false;
      const suffixes = streamSuffixes(topology, ordered);
      return await opened().control.use((client) => backlogOf(client, groupOf(topology, group), suffixes));
    },
    health,
    isTransient,
    async close() {
      const closing = open;
      if (closing === undefined) return;
      await Promise.allSettled([...closing.sources].map(async (opening) => (await opening).stop()));
      for (const link of closing.links) link.close();
      open = undefined;
    },
  };
}

interface Open {
  readonly Client: RedisClass;
  readonly hooks: AdapterHooks;
  readonly name: string;
  readonly control: Link;
  readonly links: Set<Link>;
  /** From the moment they are asked for, so that none outlives `close`. */
  readonly sources: Set<Promise<Source>>;
  /** Opened by the first publish: one that only consumes needs none. */
  publisher(): Promise<Link>;
}

function capabilitiesOf({ durability }: Settings): Capabilities {
  return {
    durability: durability.level,
    multiProcess: true,
    order: 'emulated',
    priority: 'emulated',
    delayedPublish: 'emulated',
    delayedRetry: 'emulated',
    delayPrecision: 'exact',
    deadLetters: 'emulated',
    publishDedupe: 'window',
    atomicMoves: true,
    history: false,
    unroutable: true,
    leases: true,
    backlog: ['ready', 'inFlight', 'delayed', 'dead', 'oldestAgeMs'],
    defaultPartitions: 1,
    stablePositions: true,
    marks: true,
    // One string may have 512 MB, but larger ones than this hold up the whole server for seconds.
    maxBodyBytes: 64 * 1024 * 1024,
    flow: { batchMessages: 512, batchBytes: 1024 * 1024, window: 3, exclusive: 'partition' },
  };
}
