import type { GroupTopology, Priority, Topology } from '../../src/port.ts';

// Names: `:` parts, which topics and groups cannot contain. What belongs to the topic has an empty group part, so that
// no group's name can collide with it.
//
//   orders                       exchange: fanout, or of type topic where the topic has lanes
//   orders::shards               exchange of type topic, bound to the fanout, where a group is ordered
//   orders::partitions           unbound marker queue whose x-max-length is the number of partitions
//   orders::delay[:<ms>]         ladder of delayed publishes (delays.ts)
//   orders:billing               queue of an unordered group; with lanes also orders:billing:high and :low
//   orders:board:3               queue of shard 3 of an ordered group; with lanes also orders:board:3:high and :low
//   orders:billing:dead          dead letters of the group
//   orders:billing:retry[:<ms>]  ladder of the group's delayed retries
//
// Routing keys are `<lane>.<partition or ->[.<rung>…]`.

/** One queue that a group is delivered by. */
export interface Place {
  readonly queue: string;
  readonly lane: Priority;
  readonly shard: number | undefined;
  /** Binding patterns on an exchange of type topic that select what belongs here. */
  readonly patterns: readonly string[];
}

export function lanesOf(topology: Topology): readonly Priority[] {
  return topology.lanes ? ['high', 'normal', 'low'] : ['normal'];
}

export function queueName(topic: string, group: string, lane: Priority, shard: number | undefined): string {
  const base = shard === undefined ? `${topic}:${group}` : `${topic}:${group}:${shard}`;
  return lane === 'normal' ? base : `${base}:${lane}`;
}

/** The queues of a group: one per lane, and for ordered groups per lane and shard. */
export function placesOf(topology: Topology, group: GroupTopology): readonly Place[] {
  const shards = group.ordered ? Array.from({ length: topology.partitions }, (_, shard) => shard) : [undefined];
  return shards.flatMap((shard) =>
    lanesOf(topology).map((lane) => {
      const first = topology.lanes ? lane : '*';
      const patterns = [`${first}.${shard ?? '*'}.#`];
      // A message without a key has no partition: an ordered group has it in its first shard.
      if (shard === 0) patterns.push(`${first}.-.#`);
      return { queue: queueName(topology.topic, group.name, lane, shard), lane, shard, patterns };
    }),
  );
}

/** A way of messages from an exchange to a queue, or to the shards' exchange. */
export interface Binding {
  readonly source: string;
  readonly key: string;
  readonly destination: string;
}

/** By which the topic's messages get to this group; all of them, or by the pattern of a place. */
export function bindingsOf(topology: Topology, group: GroupTopology): readonly Binding[] {
  const { topic, lanes } = topology;
  const source = group.ordered && !lanes ? shardsExchange(topic) : topic;
  return placesOf(topology, group).flatMap(({ queue, patterns }) =>
    (lanes || group.ordered ? patterns : ['']).map((key) => ({ source, key, destination: queue })),
  );
}

/** Between a fanout and ordered groups stands an exchange that tells shards apart. */
export function toShards({ topic, lanes, groups }: Topology): Binding | undefined {
  if (lanes || !groups.some((group) => group.ordered)) return undefined;
  return { source: topic, key: '', destination: shardsExchange(topic) };
}

export const shardsExchange = (topic: string): string => `${topic}::shards`;
export const partitionsMarker = (topic: string): string => `${topic}::partitions`;
export const deadQueue = (topic: string, group: string): string => `${topic}:${group}:dead`;
export const deadLock = (topic: string, group: string): string => `${topic}:${group}:dead:lock`;
export const topicLadder = (topic: string): string => `${topic}::delay`;
export const groupLadder = (topic: string, group: string): string => `${topic}:${group}:retry`;
/** Where a group's ladder ends: an exchange of type topic, bound to the group's queues alone. */
export const groupExchange = (topic: string, group: string): string => `${topic}:${group}`;

export function routingKey(lane: Priority, partition: number | undefined): string {
  return partition === undefined ? `${lane}.-` : `${lane}.${partition}`;
}

export function groupOf(topology: Topology, name: string): GroupTopology {
  return topology.groups.find((group) => group.name === name) ?? { name, ordered: false };
}

/** AMQP names have at most 255 bytes, and the longest that we make is the lock or a rung of a group. */
const MOST_NAME_BYTES = 255;
const LONGEST_SUFFIX = ':retry:2764800000'.length;

/** The group whose queues could not be named, if any: better refused now than at its first retry. */
export function tooLongGroup({ topic, groups }: Topology): string | undefined {
  return groups.find(({ name }) => topic.length + 1 + name.length + LONGEST_SUFFIX > MOST_NAME_BYTES)?.name;
}

/** Every group of both: declaring only adds (S4). */
export function merge(known: Topology | undefined, topology: Topology): Topology {
  if (known === undefined) return topology;
  const groups = new Map([...known.groups, ...topology.groups].map((group) => [group.name, group]));
  return { ...topology, groups: [...groups.values()] };
}

export type QueueArguments = Readonly<Record<string, string | number | boolean>>;

/**
 * Arguments of a group's queue; constants of this version of the topology (S2). `-1` takes a quorum queue's delivery
 * limit away from 4.0 on; on 3.x it would drop a message at its first return, and there is no limit to take away.
 */
export function queueArguments(major: number, more: QueueArguments = {}): QueueArguments {
  return { 'x-queue-type': 'quorum', ...(major >= 4 && { 'x-delivery-limit': -1 }), ...more };
}

export const SINGLE_ACTIVE: QueueArguments = { 'x-single-active-consumer': true };
