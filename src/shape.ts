/** What a topic's definition means for the broker: names, groups, lanes, partitions. */

import { describe, OptionsError } from './options.ts';
import type { Capabilities, OutboxShape, Topology } from './port.ts';
import type { GroupOptions, Topic, TopicOptions } from './topic.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const RESERVED = /^(amq\.|__|holdfast[.-]?)/;

/** What is wrong with the name of a topic or group; undefined if every broker can carry it, injectively. */
export function wrongName(what: string, name: unknown, longest: number): string | undefined {
  const fine =
    typeof name === 'string' &&
    name.length <= longest &&
    NAME.test(name) &&
    !name.includes('--') &&
    !name.includes('..') &&
    !RESERVED.test(name);
  if (fine) return undefined;
  return (
    `${what} must be 1 to ${longest} characters of A-Z a-z 0-9 . _ -, begin with a letter or digit, hold no "--" or "..", ` +
    `and not begin with "amq." or "holdfast"; received ${describe(name)}`
  );
}
export const wrongGroup = (name: unknown): string | undefined => wrongName('A group name', name, 64);

export function checkGroupName(name: unknown): void {
  const problem = wrongGroup(name);
  if (problem !== undefined) throw new OptionsError('consume', [problem]);
}

export function groupsOf(
  options: Pick<TopicOptions<unknown>, 'groups'>,
): readonly { readonly name: string; readonly ordered: boolean }[] {
  const groups = options.groups ?? [];
  if (Array.isArray(groups)) return (groups as readonly string[]).map((name) => ({ name, ordered: false }));
  return Object.entries(groups as Readonly<Record<string, GroupOptions>>).map(([name, group]) => ({
    name,
    ordered: group.order === 'key',
  }));
}

/** Whether it has a group that goes by key (G5). */
export const isOrdered = ({ groups }: Pick<OutboxShape, 'groups'>): boolean => groups.some(({ ordered }) => ordered);

const orderedTopics = new WeakMap<object, boolean>();
/** The same of a definition; asked with each publish, so it is remembered. */
export function isOrderedTopic(topic: Pick<Topic, 'options'>): boolean {
  let ordered = orderedTopics.get(topic);
  if (ordered === undefined) {
    ordered = isOrdered({ groups: groupsOf(topic.options) });
    orderedTopics.set(topic, ordered);
  }
  return ordered;
}

export const hasLanes = (options: Pick<TopicOptions<unknown>, 'priority'>): boolean => options.priority !== undefined;

/** What the outbox remembers of a topic, so that a relay can declare and route without the topic object. */
export function shapeOf(topic: Pick<Topic, 'name' | 'options'>): OutboxShape {
  return {
    topic: topic.name,
    groups: groupsOf(topic.options),
    partitions: topic.options.partitions,
    lanes: hasLanes(topic.options),
    ...(topic.options.onExpired === 'drop' ? { onExpired: 'drop' as const } : {}),
  };
}

export function topologyOf(shape: OutboxShape, capabilities: Pick<Capabilities, 'defaultPartitions'>): Topology {
  return {
    topic: shape.topic,
    groups: shape.groups,
    partitions: shape.partitions ?? capabilities.defaultPartitions,
    lanes: shape.lanes,
  };
}
