import type { Channel } from 'amqplib';
import type { Topology } from '../../src/port.ts';
import type { Throwaway } from './channels.ts';
import { createDeadQueue, createGroupExchange, createPath, createTopology, refuseLongNames } from './declare.ts';
import { MAX_DELAY_MS, rungsFor } from './delays.ts';
import { groupExchange, groupLadder, topicLadder } from './topology.ts';

/** What of a topic decides what it needs on the broker; any topic of holdfast has it. */
export interface DescribedTopic {
  readonly name: string;
  readonly options: {
    readonly groups?: readonly string[] | Readonly<Record<string, { readonly order?: 'none' | 'key' }>>;
    readonly partitions?: number;
    readonly priority?: unknown;
  };
}

export interface DefinitionsOptions {
  /** Every delay, in milliseconds, that the groups' `retry.delays` and `RetryLater` ask for. @default those of `retry.delays`' default: 5 s, 1 min, 10 min */
  readonly retryDelaysMs?: readonly number[];
  /** Every `delayMs` that the topic is published with. @default none */
  readonly publishDelaysMs?: readonly number[];
  /** The vhost they are for. @default '/' */
  readonly vhost?: string;
  /** The broker's major version: queues of 3.x have other arguments. @default 4 */
  readonly major?: number;
}

/** RabbitMQ's own format: `rabbitmqctl import_definitions`, or `PUT /api/definitions`. */
export interface RabbitmqDefinitions {
  readonly exchanges: readonly Readonly<Record<string, unknown>>[];
  readonly queues: readonly Readonly<Record<string, unknown>>[];
  readonly bindings: readonly Readonly<Record<string, unknown>>[];
}

const DEFAULT_RETRIES: readonly number[] = [5_000, 60_000, 600_000];

/**
 * All that a topic can need on the broker, for clients that may not declare (`declare: 'verify'` or `'none'`): what
 * declaring creates, dead-letter queues, and the rungs of these delays. A delay that is not among them finds its rungs
 * missing, unless it is made up of the same.
 */
export function rabbitmqDefinitions(
  topics: DescribedTopic | readonly DescribedTopic[],
  options: DefinitionsOptions = {},
): Promise<RabbitmqDefinitions> {
  return record(Array.isArray(topics) ? topics : [topics as DescribedTopic], options);
}

async function record(topics: readonly DescribedTopic[], options: DefinitionsOptions): Promise<RabbitmqDefinitions> {
  const { retryDelaysMs = DEFAULT_RETRIES, publishDelaysMs = [], vhost = '/', major = 4 } = options;
  const { on, definitions } = recorder(vhost, major);
  const silent = (): void => {};
  for (const topology of topics.map(toTopology)) {
    const { topic, groups } = topology;
    refuseLongNames(topology);
    await createTopology(on, topology, silent);
    for (const rungs of paths(publishDelaysMs)) {
      await createPath(on, { ladder: topicLadder(topic), rungs, target: topic }, silent);
    }
    for (const group of groups) {
      await createDeadQueue(on, topic, group.name, silent);
      const retries = group.ordered ? [] : paths(retryDelaysMs);
      if (retries.length > 0) await createGroupExchange(on, topology, group);
      for (const rungs of retries) {
        const ladder = groupLadder(topic, group.name);
        await createPath(on, { ladder, rungs, target: groupExchange(topic, group.name) }, silent);
      }
    }
  }
  return definitions();
}

function paths(delaysMs: readonly number[]): readonly (readonly number[])[] {
  // A retry beyond the longest path walks it again, and at last what is left.
  const walks = delaysMs.flatMap((ms) => (ms > MAX_DELAY_MS ? [MAX_DELAY_MS, ms % MAX_DELAY_MS] : [ms]));
  return walks.map(rungsFor).filter((rungs) => rungs.length > 0);
}

function toTopology({ name, options }: DescribedTopic): Topology {
  const { groups = [], partitions = 1, priority } = options;
  const named: readonly (readonly [string, { readonly order?: 'none' | 'key' }])[] = Array.isArray(groups)
    ? (groups as readonly string[]).map((group) => [group, {}] as const)
    : Object.entries(groups as Readonly<Record<string, { readonly order?: 'none' | 'key' }>>);
  return {
    topic: name,
    groups: named.map(([group, { order }]) => ({ name: group, ordered: order === 'key' })),
    partitions,
    lanes: priority !== undefined,
  };
}

/** Takes the statements that would declare, and writes them down. */
function recorder(vhost: string, major: number): { on: Throwaway; definitions: () => RabbitmqDefinitions } {
  const [exchanges, queues, bindings] = [
    new Map<string, object>(),
    new Map<string, object>(),
    new Map<string, object>(),
  ];
  const common = { vhost, durable: true, auto_delete: false };
  const bind = (kind: 'queue' | 'exchange', destination: string, source: string, routingKey: string): void => {
    const binding = { source, vhost, destination, destination_type: kind, routing_key: routingKey, arguments: {} };
    bindings.set(JSON.stringify(binding), binding);
  };
  const channel = {
    async assertExchange(name: string, type: string) {
      exchanges.set(name, { name, type, internal: false, arguments: {}, ...common });
    },
    async assertQueue(name: string, { arguments: args }: { readonly arguments: object }) {
      queues.set(name, { name, arguments: args, ...common });
    },
    async checkQueue(name: string) {
      if (queues.has(name)) return { queue: name, messageCount: 0, consumerCount: 0 };
      throw Object.assign(new Error(`NOT_FOUND - no queue '${name}'`), { code: 404 });
    },
    bindQueue: async (queue: string, source: string, key: string) => bind('queue', queue, source, key),
    bindExchange: async (to: string, source: string, key: string) => bind('exchange', to, source, key),
  };
  return {
    on: { major, run: (statement) => statement(channel as unknown as Channel) },
    definitions: () => ({
      exchanges: [...exchanges.values()] as RabbitmqDefinitions['exchanges'],
      queues: [...queues.values()] as RabbitmqDefinitions['queues'],
      bindings: [...bindings.values()] as RabbitmqDefinitions['bindings'],
    }),
  };
}
