import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Codec } from './codec.ts';
import { isName } from './message.ts';
import {
  type Check,
  type Checks,
  count,
  describe,
  func,
  isPlainObject,
  OptionsError,
  oneOf,
  problemsOf,
} from './options.ts';
import { toEntry } from './outbox/entry.ts';
import { printable } from './printable.ts';
import { groupsOf, wrongGroup, wrongName } from './shape.ts';
import type { Topic, TopicOptions } from './topic.ts';

const groupsOption: Check = (value) =>
  Array.isArray(value) || isPlainObject(value)
    ? undefined
    : "must be a list of names or an object like { billing: {}, board: { order: 'key' } }";
const GROUP: Checks = { order: oneOf('none', 'key') };

function wrongGroups(groups: unknown): readonly (string | undefined)[] {
  if (Array.isArray(groups)) {
    return [
      ...groups.map((name) => wrongGroup(name)),
      new Set(groups).size === groups.length ? undefined : '"groups" must name each group once',
    ];
  }
  if (!isPlainObject(groups)) return [];
  return Object.entries(groups).flatMap(([name, group]) => [
    wrongGroup(name),
    ...(isPlainObject(group)
      ? problemsOf('defineTopic', group, GROUP, {}, `groups.${printable(name, 64)}.`)
      : [`"groups.${printable(name, 64)}" must be an object, received ${describe(group)}`]),
  ]);
}

const priorityOption: Check = (value) =>
  typeof value === 'function'
    ? undefined
    : oneOf('high', 'normal', 'low')(value) && "must be 'high', 'normal', 'low' or a function that returns one";
/** A function with properties is one, too. */
const schemaOption: Check = (value) =>
  typeof (value as Partial<StandardSchemaV1> | null)?.['~standard']?.validate === 'function'
    ? undefined
    : 'must be a Standard Schema, as zod, valibot and arktype make them';
const codecOption: Check = (value) => {
  const { contentType, encode, decode } = (value ?? {}) as Partial<Codec>;
  return typeof encode === 'function' && typeof decode === 'function' && isName(contentType)
    ? undefined
    : 'must be an object of contentType, encode and decode';
};

const CHECKS: Readonly<Record<keyof TopicOptions<unknown>, Check>> = {
  schema: schemaOption,
  codec: codecOption,
  key: func,
  dedupeKey: func,
  priority: priorityOption,
  partitions: count(1, 1024),
  groups: groupsOption,
  maxBytes: count(1),
  onExpired: oneOf('dead-letter', 'drop'),
};

/**
 * Defines a typed topic: its name, its payload's type and schema, its key, lanes and groups. A pure value: nothing is
 * opened or declared until a client connects.
 *
 * Throws a TypeError that names every wrong option.
 */
export function defineTopic<S extends StandardSchemaV1>(
  name: string,
  options: { readonly schema: S } & Omit<
    TopicOptions<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>,
    'schema'
  >,
): Topic<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>;
export function defineTopic<T = unknown>(name: string, options?: TopicOptions<T>): Topic<T>;
export function defineTopic(name: string, options: TopicOptions<unknown> = {}): Topic {
  const what = typeof name === 'string' ? `defineTopic("${printable(name, 64)}")` : 'defineTopic';
  const problems = [
    wrongName('A topic name', name, 200),
    ...problemsOf(what, options, CHECKS),
    ...wrongGroups(options.groups),
  ];
  const found = problems.filter((problem) => problem !== undefined);
  if (found.length > 0) throw new OptionsError(what, found);
  const ordered = groupsOf(options).find((group) => group.ordered);
  if (ordered !== undefined && options.key === undefined) {
    throw new OptionsError(what, [`group "${ordered.name}" has order 'key', so the topic needs a key function`]);
  }
  const topic: Topic = Object.freeze({
    name,
    options: Object.freeze({ ...options }),
    toEntry: (payload: unknown, add: Parameters<Topic['toEntry']>[1]) => toEntry(topic, payload, add),
  });
  return topic;
}
