/** Which topologies this client has declared: each once, and again only when a group is added. */

import { fromAdapter, HoldfastError } from './errors.ts';
import type { Emitter } from './events.ts';
import { withRetries } from './policy/retry.ts';
import type { BrokerAdapter, GroupTopology, OutboxShape, Topology } from './port.ts';
import { checkGroupName, groupsOf, shapeOf, topologyOf } from './shape.ts';
import type { Topic } from './topic.ts';

export interface Topologies {
  /** The topology, if it is declared already. */
  known(topic: Topic): Topology | undefined;
  of(topic: Topic): Topology;
  hasGroup(topic: string, group: string): boolean;
  declareTopic(topic: Topic, timeoutMs: number): Promise<Topology>;
  /** Declares if needed, trying again while the broker is away; rejects as `not-sent` when the time is up. */
  declareWithin(shape: OutboxShape, timeoutMs: number): Promise<Topology>;
  declareGroup(
    topic: Topic,
    group: string,
    order: 'none' | 'key' | undefined,
    from: GroupTopology['from'],
  ): Promise<{ readonly topology: Topology; readonly ordered: boolean }>;
}

const BACKOFF = { retries: Number.POSITIVE_INFINITY, firstMs: 50, factor: 2, maxMs: 1_000, jitter: true };

export function createTopologies(adapter: BrokerAdapter, emitter: Emitter): Topologies {
  const declared = new Map<string, Topology>();
  const byTopic = new WeakMap<object, Topology>();
  const declaring = new Map<string, Promise<Topology>>();
  const warned = new Set<string>();

  /** What is known of the topic from elsewhere in this client stays: declaring only adds. */
  function merged(topology: Topology): Topology {
    const before = declared.get(topology.topic);
    if (before === undefined) return topology;
    assertSame(before, topology);
    const added = topology.groups.filter((group) => !before.groups.some(({ name }) => name === group.name));
    return added.length === 0 ? before : { ...before, groups: [...before.groups, ...added] };
  }

  async function declare(topology: Topology, timeoutMs: number): Promise<Topology> {
    assertSupported(topology, adapter);
    const all = merged(topology);
    if (declared.get(all.topic) === all) return all;
    const name = JSON.stringify(all);
    let under = declaring.get(name);
    if (under === undefined) {
      under = attempt(all, timeoutMs).finally(() => declaring.delete(name));
      declaring.set(name, under);
    }
    return under;
  }

  async function attempt(topology: Topology, timeoutMs: number): Promise<Topology> {
    try {
      await withRetries(
        () => adapter.declare(topology),
        BACKOFF,
        (error) => adapter.isTransient(error),
        AbortSignal.timeout(timeoutMs),
      );
    } catch (error) {
      const { code, message } = fromAdapter(error, `declare topic "${topology.topic}"`);
      const timedOut = error instanceof DOMException && error.name === 'TimeoutError';
      throw new HoldfastError(
        timedOut ? 'publish-timeout' : code,
        timedOut
          ? `Topic "${topology.topic}" could not be declared within ${timeoutMs} ms: the broker does not answer`
          : message,
        {
          cause: error,
          outcome: 'not-sent',
        },
      );
    }
    const result = merged(topology);
    declared.set(topology.topic, result);
    return result;
  }

  async function declareTopic(topic: Topic, timeoutMs: number): Promise<Topology> {
    const topology = await declare(topologyOf(shapeOf(topic), adapter.capabilities), timeoutMs);
    byTopic.set(topic, topology);
    return topology;
  }

  function warnOnce(code: string, topic: string, detail: string): void {
    if (warned.has(`${code} ${topic}`)) return;
    warned.add(`${code} ${topic}`);
    emitter.emit('warning', { code, detail });
  }

  return {
    known: (topic) => byTopic.get(topic),
    of: (topic) => merged(topologyOf(shapeOf(topic), adapter.capabilities)),
    hasGroup: (topic, group) => declared.get(topic)?.groups.some(({ name }) => name === group) === true,
    declareTopic,
    async declareWithin(shape, timeoutMs) {
      return declare(topologyOf(shape, adapter.capabilities), timeoutMs);
    },
    async declareGroup(topic, group, order, from) {
      checkGroupName(group);
      const own = groupsOf(topic.options).find(({ name }) => name === group);
      const ordered = own?.ordered ?? false;
      if (order !== undefined && (order === 'key') !== ordered) {
        throw new HoldfastError(
          'group-mismatch',
          `Group "${group}" of topic "${topic.name}" is declared with order '${ordered ? 'key' : 'none'}', but consume asks for '${order}': order belongs to defineTopic's groups`,
        );
      }
      if (typeof from === 'number' && !adapter.capabilities.history) {
        throw new HoldfastError(
          'unsupported',
          `${adapter.name} keeps no history: "from" cannot be a Date, only 'earliest' (since the group was declared) or 'latest'`,
        );
      }
      if (own === undefined) {
        warnOnce(
          'undeclared-group',
          `${topic.name} ${group}`,
          `Group "${group}" is not declared in topic "${topic.name}": messages published before its first consumer were not kept for it`,
        );
      }
      if (ordered && typeof topic.options.priority === 'function') {
        warnOnce(
          'order-with-priority',
          topic.name,
          `Topic "${topic.name}" has an ordered group and a priority function: one key over two lanes has no order`,
        );
      }
      const base = topologyOf(shapeOf(topic), adapter.capabilities);
      const start = from === undefined ? {} : { from };
      const groups = [...base.groups.filter(({ name }) => name !== group), { name: group, ordered, ...start }];
      const topology = await declare({ ...base, groups }, 30_000);
      byTopic.set(topic, topology);
      return { topology, ordered };
    },
  };
}

/** What a topic needs and the adapter cannot give, not even by emulation, is refused here: never silently weakened. */
function assertSupported(topology: Topology, { name, capabilities }: BrokerAdapter): void {
  const ordered = topology.groups.find((group) => group.ordered);
  const lacking =
    ordered !== undefined && capabilities.order === 'none'
      ? `order by key, which its group "${ordered.name}" declares`
      : topology.lanes && capabilities.priority === 'none'
        ? 'priority lanes'
        : undefined;
  if (lacking !== undefined) {
    throw new HoldfastError(
      'unsupported',
      `Topic "${topology.topic}" needs ${lacking}; ${name} has no such thing. Use another adapter, or define the topic without it`,
      {
        outcome: 'not-sent',
      },
    );
  }
}

function assertSame(before: Topology, after: Topology): void {
  const differs =
    before.partitions !== after.partitions ? 'partitions' : before.lanes !== after.lanes ? 'priority' : undefined;
  if (differs !== undefined) {
    throw new HoldfastError(
      'topology-conflict',
      `Topic "${before.topic}" is defined twice in this process with different ${differs}`,
    );
  }
}
