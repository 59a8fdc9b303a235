import type { ChannelModel } from 'amqplib';
import type { AdapterHealth, AdapterHooks, BrokerAdapter, Capabilities, Source } from '../../src/port.ts';
import { readBacklog } from './backlog.ts';
import { type Link, openLink } from './connection.ts';
import { subscribe } from './consume.ts';
import { deadLetters } from './dead-letters.ts';
import { UNCOUNTED_CRASHES } from './delivery.ts';
import { adapterError, isTransient } from './errors.ts';
import { managementApi } from './management.ts';
import { type RabbitmqOptions, readOptions } from './options.ts';
import { type Presence, presence } from './presence.ts';
import { MAX_BODY_BYTES, publish } from './publish.ts';
import { type Sender, sender } from './sender.ts';

export {
  type DefinitionsOptions,
  type DescribedTopic,
  type RabbitmqDefinitions,
  rabbitmqDefinitions,
} from './definitions.ts';
export type { RabbitmqOptions } from './options.ts';

const CONNECT_WAIT_MS = 5_000;

const CAPABILITIES: Capabilities = {
  durability: 'replicated',
  multiProcess: true,
  order: 'emulated',
  priority: 'emulated',
  delayedPublish: 'emulated',
  delayedRetry: 'emulated',
  delayPrecision: 'rungs',
  deadLetters: 'emulated',
  publishDedupe: 'none',
  atomicMoves: false,
  history: false,
  unroutable: true,
  uncountedCrashes: UNCOUNTED_CRASHES,
  leases: false,
  consumerTimeoutMs: 1_800_000,
  backlog: ['ready', 'delayed', 'dead'],
  defaultPartitions: 1,
  maxBodyBytes: MAX_BODY_BYTES,
  flow: { batchMessages: 128, batchBytes: 4 * 1024 * 1024, window: 8, exclusive: 'key' },
};

/** What exists between `connect` and `close`. */
interface Session {
  readonly hooks: AdapterHooks;
  readonly publishing: Link;
  readonly consuming: Link;
  readonly presence: Presence;
  readonly sender: Sender;
  readonly publish: BrokerAdapter['publish'];
}

/**
 * RabbitMQ 3.10 and later, by amqplib: quorum queues, publisher confirms, one connection to publish by and one to consume
 * by. A confirmed message is written by a majority of the queue's replicas.
 */
export function rabbitmq(options: RabbitmqOptions): BrokerAdapter {
  const settings = readOptions(options);
  const management = managementApi(settings);
  const scanning = new Set<string>();
  const sources = new Set<Source>();
  const capabilities: Capabilities = {
    ...CAPABILITIES,
    consumerTimeoutMs: settings.consumerTimeoutMs,
    backlog: management === undefined ? CAPABILITIES.backlog : [...CAPABILITIES.backlog, 'inFlight'],
  };
  let session: Session | undefined;
  let epochs = 0;

  function connected(): Session {
    if (session === undefined) throw adapterError('broker-unreachable', 'the RabbitMQ adapter is not connected');
    return session;
  }

  async function connect(hooks: AdapterHooks): Promise<void> {
    const emit: Parameters<typeof openLink>[0]['emit'] = (type, detail) =>
      hooks.emit(detail === undefined ? { type } : { type, detail });
    const warn = (code: string, detail: string): void => hooks.emit({ type: 'warning', code, detail });
    let publishing: Link | undefined;
    const model = async (): Promise<ChannelModel> => {
      if (publishing === undefined) throw adapterError('broker-unreachable', 'the RabbitMQ adapter is not connected');
      return await publishing.opened(CONNECT_WAIT_MS);
    };
    const present = presence({ hooks, management, model });
    const common = { settings, clientName: hooks.clientName, emit, warn };
    try {
      publishing = await openLink({ ...common, name: 'publish', prepare: (fresh) => present.again(fresh) });
      const consuming = await openLink({ ...common, name: 'consume', prepare: async () => {} });
      const onMissing = (name: string, fresh: ChannelModel): Promise<void> =>
        present.again(fresh, { topic: name.includes('*') ? undefined : name.split('::')[0] });
      const sending = sender(publishing, { onMissing });
      session = {
        hooks,
        publishing,
        consuming,
        presence: present,
        sender: sending,
        publish: publish(sending, present, settings.wire),
      };
    } catch (error) {
      present.close();
      await publishing?.close();
      throw error;
    }
  }

  async function health(): Promise<AdapterHealth> {
    if (session === undefined) return { connected: false, checks: [] };
    const checks: AdapterHealth['checks'][number][] = [session.publishing, session.consuming].flatMap((link) => {
      const why = link.lastError()?.message;
      const open = link.current() !== undefined;
      const opened = { name: `${link.name} connection`, ok: open, ...(!open && why !== undefined && { detail: why }) };
      const detail = 'RabbitMQ blocks publishers: memory or disk alarm';
      return link.isBlocked() ? [opened, { name: `${link.name} blocked`, ok: false, detail }] : [opened];
    });
    for (const { code, detail } of session.presence.findings.list()) checks.push({ name: code, ok: false, detail });
    const connected = session.publishing.current() !== undefined && session.consuming.current() !== undefined;
    return { connected, checks };
  }

  return {
    name: 'rabbitmq',
    capabilities,
    async connect(hooks) {
      if (session === undefined) await connect(hooks);
    },
    declare: async (topology) => await connected().presence.declare(topology),
    async publish(batch, limit) {
      if (session === undefined) {
        const error = adapterError('broker-unreachable', 'the RabbitMQ adapter is not connected');
        return batch.map(() => ({ kind: 'rejected', error }));
      }
      return await session.publish(batch, limit);
    },
    async subscribe(subscription, receive) {
      const { consuming, ...rest } = connected();
      const source = await subscribe({ ...rest, link: consuming, nextEpoch: () => ++epochs }, subscription, receive);
      const kept: Source = {
        ...source,
        async stop() {
          sources.delete(kept);
          await source.stop();
        },
      };
      sources.add(kept);
      return kept;
    },
    deadLetters(topology, group) {
      const { consuming, ...rest } = connected();
      return deadLetters({ ...rest, link: consuming, scanning }, topology, group);
    },
    async backlog(topology, group) {
      const { presence, publishing } = connected();
      const model = await publishing.opened(CONNECT_WAIT_MS);
      return await readBacklog(model, management, { topology: presence.known(topology), group });
    },
    health,
    isTransient,
    async close() {
      const ending = session;
      if (ending === undefined) return;
      session = undefined;
      ending.presence.close();
      await Promise.all([...sources].map((source) => source.stop()));
      await Promise.all([ending.consuming.close(), ending.publishing.close()]);
    },
  };
}
