/** Which topologies this client has declared: each once, and again only when a group is added. */

import { type Attempt, attempt, DEFAULT_TIMEOUT_MS, type Limit } from './declare-attempt.ts';
import { HoldfastError } from './errors.ts';
import type { Emitter } from './events.ts';
import type { BrokerAdapter, GroupTopology, OutboxShape, Topology } from './port.ts';
import { checkGroupName, groupsOf, shapeOf, topologyOf } from './shape.ts';
import type { Topic } from './topic.ts';

export interface Topologies {
  /** The topology, if it is declared already. */
  known(topic: Topic): Topology | undefined;
  of(topic: Topic): Topology;
  hasGroup(topic: string, group: string): boolean;
  /** Declares if needed, trying again while the broker is away, until the caller's own time is up. */
  declareTopic(topic: Topic, limit: Limit): Promise<Topology>;
  declareWithin(shape: OutboxShape, limit: Limit): Promise<Topology>;
  declareGroup(
    topic: Topic,
    group: string,
    order: 'none' | 'key' | undefined,
    from: GroupTopology['from'],
  ): Promise<{ readonly topology: Topology; readonly ordered: boolean }>;
  /** Whoever waits for a declaration is told that the client is closed; nothing is tried again. */
  close(): void;
}

export function createTopologies(
  adapter: BrokerAdapter,
  emitter: Emitter,
  crashPoint: ((name: string) => void | Promise<void>) | undefined,
): Topologies {
  const declared = new Map<string, Topology>();
  const byTopic = new WeakSet<object>();
  const declaring = new Map<string, Attempt>();
  const warned = new Set<string>();
  let closed = false;

  /** What is known of the topic from elsewhere in this client stays: declaring only adds. */
  function merged(topology: Topology): Topology {
    const before = declared.get(topology.topic);
    if (before === undefined) return topology;
    assertSame(before, topology);
    const added = topology.groups.filter((group) => !before.groups.some(({ name }) => name === group.name));
    return added.length === 0 ? before : { ...before, groups: [...before.groups, ...added] };
  }

  async function declare(topology: Topology, limit: Limit): Promise<Topology> {
    assertSupported(topology, adapter);
    const all = merged(topology);
    if (declared.get(all.topic) === all) return all;
    if (closed) throw closedError();
    const name = JSON.stringify(all);
    return (declaring.get(name) ?? begin(all, name)).wait(limit);
  }

  function begin(topology: Topology, name: string): Attempt {
    const { topic } = topology;
    const begun = attempt({
      topic,
      async declare() {
        await adapter.declare(topology);
        await crashPoint?.('declare:declared');
      },
      isTransient: (error) => adapter.isTransient(error),
      declared() {
        const result = merged(topology);
        declared.set(topic, result);
        return result;
      },
      ended() {
        if (declaring.get(name) === begun) declaring.delete(name);
      },
    });
    declaring.set(name, begun);
    return begun;
  }

  async function declareTopic(topic: Topic, limit: Limit): Promise<Topology> {
    const topology = await declare(topologyOf(shapeOf(topic), adapter.capabilities), limit);
    byTopic.add(topic);
    return topology;
  }

  function warnOnce(code: string, topic: string, detail: string): void {
    if (warned.has(`${code} ${topic}`)) return;
    warned.add(`${code} ${topic}`);
    emitter.emit('warning', { code, detail });
  }

  return {
    known: (topic) => (byTopic.has(topic) ? declared.get(topic.name) : undefined),
    of: (topic) => merged(topologyOf(shapeOf(topic), adapter.capabilities)),
    hasGroup: (topic, group) => declared.get(topic)?.groups.some(({ name }) => name === group) === true,
    declareTopic,
    async declareWithin(shape, limit) {
      return declare(topologyOf(shape, adapter.capabilities), limit);
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
      const topology = await declare({ ...base, groups }, { timeoutMs: DEFAULT_TIMEOUT_MS });
      byTopic.add(topic);
      return { topology, ordered };
    },
    close() {
      closed = true;
      for (const begun of declaring.values()) begun.stop(closedError());
    },
  };
}

const closedError = (): HoldfastError => new HoldfastError('client-closed', 'The client is closed');

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
  const turned = after.groups.find(({ name, ordered }) =>
    before.groups.some((group) => group.name === name && group.ordered !== ordered),
  );
  const differs =
    before.partitions !== after.partitions
      ? 'partitions'
      : before.lanes !== after.lanes
        ? 'priority'
        : turned !== undefined && `order of group "${turned.name}"`;
  if (differs !== false) {
    throw new HoldfastError(
      'topology-conflict',
      `Topic "${before.topic}" is defined twice in this process with different ${differs}`,
    );
  }
}
