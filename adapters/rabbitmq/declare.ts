import type { GroupTopology, Topology } from '../../src/port.ts';
import type { Throwaway } from './channels.ts';
import { entryPattern, exitPattern, rungArguments, rungName, stepPattern } from './delays.ts';
import { adapterError, asError, isNotFound, replyCode } from './errors.ts';
import type { Finding } from './findings.ts';
import {
  bindingsOf,
  deadQueue,
  groupExchange,
  partitionsMarker,
  placesOf,
  type QueueArguments,
  queueArguments,
  queueName,
  SINGLE_ACTIVE,
  tooLongGroup,
  toShards,
} from './topology.ts';

/** Called for what was found and needs somebody's hand; `about` is the queue's name. */
export type Warn = (finding: Finding) => void;

/** Creates what is missing of the topic and its groups. Throws `topology-conflict` where something else is there. */
export async function createTopology(on: Throwaway, topology: Topology, warn: Warn): Promise<void> {
  const { topic } = topology;
  const ordered = topology.groups.some((group) => group.ordered);
  await createExchange(on, topic, topology.lanes ? 'topic' : 'fanout');
  if (ordered || (await queueExists(on, partitionsMarker(topic)))) await createMarker(on, topology, warn);
  const shards = toShards(topology);
  if (shards !== undefined) {
    await createExchange(on, shards.destination, 'topic');
    await on.run((channel) => channel.bindExchange(shards.destination, shards.source, shards.key));
  }
  for (const group of topology.groups) await createGroup(on, topology, group, warn);
}

async function createGroup(on: Throwaway, topology: Topology, group: GroupTopology, warn: Warn): Promise<void> {
  const args = queueArguments(on.major, group.ordered ? SINGLE_ACTIVE : {});
  for (const { queue } of placesOf(topology, group)) await createQueue(on, queue, args, warn);
  for (const { source, key, destination } of bindingsOf(topology, group))
    await on.run((channel) => channel.bindQueue(destination, source, key));
}

export function refuseLongNames(topology: Topology): void {
  const group = tooLongGroup(topology);
  if (group === undefined) return;
  throw adapterError(
    'invalid-option',
    `the names of topic "${topology.topic}" and group "${group}" are together too long for RabbitMQ's queue names (255 bytes with what is added): shorten one`,
  );
}

/** Throws where the group is there with the other kind of queues: those would fill, and nobody would read them. */
export async function refuseOtherOrder(on: Throwaway, topology: Topology): Promise<void> {
  for (const { name, ordered } of topology.groups) {
    const other = queueName(topology.topic, name, 'normal', ordered ? undefined : 0);
    if (!(await queueExists(on, other))) continue;
    const [is, wanted] = ordered ? ['unordered', 'ordered'] : ['ordered', 'unordered'];
    throw adapterError(
      'topology-conflict',
      `group "${name}" of topic "${topology.topic}" is ${is} on the broker, not ${wanted} (queue "${other}")`,
    );
  }
}

/** RabbitMQ compares no argument of our own, so the number of partitions is stored as one that it compares (S2). */
async function createMarker(on: Throwaway, topology: Topology, warn: Warn): Promise<void> {
  const name = partitionsMarker(topology.topic);
  try {
    await createQueue(on, name, queueArguments(on.major, { 'x-max-length': topology.partitions }), warn);
  } catch (error) {
    const current = /x-max-length.*current is '?(\d+)/.exec(asError(error).message)?.[1];
    if (current === undefined) throw error;
    throw adapterError(
      'topology-conflict',
      `topic "${topology.topic}" has ${current} partitions on the broker, not ${topology.partitions} (queue "${name}", argument "x-max-length"); changing them needs a drain and a move`,
      error,
    );
  }
}

export async function createDeadQueue(on: Throwaway, topic: string, group: string, warn: Warn): Promise<void> {
  await createQueue(on, deadQueue(topic, group), queueArguments(on.major), warn);
}

/** Where a group's ladder leads to: its queues and nobody else's. */
export async function createGroupExchange(on: Throwaway, topology: Topology, group: GroupTopology): Promise<void> {
  const name = groupExchange(topology.topic, group.name);
  await createExchange(on, name, 'topic');
  for (const { queue, patterns } of placesOf(topology, group)) {
    for (const pattern of patterns) await on.run((channel) => channel.bindQueue(queue, name, pattern));
  }
}

/** Creates the rungs of one path, from the ladder's entry to `target`. */
export async function createPath(
  on: Throwaway,
  path: { readonly ladder: string; readonly rungs: readonly number[]; readonly target: string },
  warn: Warn,
): Promise<void> {
  const { ladder, rungs, target } = path;
  await createExchange(on, ladder, 'topic');
  for (const [index, rung] of rungs.entries()) {
    const name = rungName(ladder, rung);
    const before = rungs[index - 1];
    await createExchange(on, name, 'topic');
    await createQueue(on, name, queueArguments(on.major, rungArguments(ladder, rung)), warn);
    await on.run((channel) =>
      before === undefined
        ? channel.bindQueue(name, ladder, entryPattern(rung))
        : channel.bindQueue(name, rungName(ladder, before), stepPattern(before, rung)),
    );
  }
  const last = rungs.at(-1)!;
  await on.run((channel) => channel.bindExchange(target, rungName(ladder, last), exitPattern(last)));
}

async function createExchange(on: Throwaway, name: string, type: 'fanout' | 'topic'): Promise<void> {
  try {
    await on.run((channel) => channel.assertExchange(name, type, { durable: true }));
  } catch (error) {
    throw conflict(error, `exchange "${name}"`, '; a topic cannot gain or lose its lanes');
  }
}

async function createQueue(on: Throwaway, name: string, args: QueueArguments, warn: Warn): Promise<void> {
  const declare = (wanted: QueueArguments): Promise<unknown> =>
    on.run((channel) => channel.assertQueue(name, { durable: true, arguments: { ...wanted } }));
  try {
    await declare(args);
  } catch (error) {
    // Created by a 3.x broker and brought here by an upgrade: taken as it is (S17).
    if (!/'x-delivery-limit'.*current is none/.test(asError(error).message)) throw conflict(error, `queue "${name}"`);
    const { 'x-delivery-limit': _, ...rest } = args;
    try {
      await declare(rest);
    } catch (second) {
      throw conflict(second, `queue "${name}"`);
    }
    const detail = `queue "${name}" has no x-delivery-limit: give it one by a policy (delivery-limit: -1), or RabbitMQ 4 drops messages after 20 returns`;
    warn({ about: name, code: 'delivery-limit', detail });
  }
}

function conflict(error: unknown, what: string, hint = ''): unknown {
  if (replyCode(error) === 403) return adapterError('access-refused', `no permission to declare ${what}`, error);
  if (replyCode(error) !== 406) return error;
  const [, argument, rest] = /inequivalent arg '([^']+)' for .*?: (.+?)"?$/.exec(asError(error).message) ?? [];
  const why = argument === undefined ? asError(error).message : `argument "${argument}" ${rest}`;
  return adapterError('topology-conflict', `${what} exists, but differs: ${why}${hint}`, error);
}

export async function queueExists(on: Throwaway, name: string): Promise<boolean> {
  return (await readyCount(on, name)) !== undefined;
}

/** Messages that are ready in the queue, or undefined where there is no such queue. */
export async function readyCount(on: Throwaway, name: string): Promise<number | undefined> {
  try {
    return (await on.run((channel) => channel.checkQueue(name))).messageCount;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

export async function exchangeExists(on: Throwaway, name: string): Promise<boolean> {
  try {
    await on.run((channel) => channel.checkExchange(name));
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Checks without creating (`declare: 'verify'`). Bindings cannot be seen by AMQP: `management.ts` does that. */
export async function verifyTopology(on: Throwaway, topology: Topology): Promise<void> {
  const { topic } = topology;
  const shards = toShards(topology);
  const exchanges = shards === undefined ? [topic] : [topic, shards.destination];
  const queues = topology.groups.flatMap((group) => placesOf(topology, group)).map(({ queue }) => queue);
  await verifyNames(on, { exchanges, queues });
}

/** Throws `topology-missing` with the names of all that is not there. */
export async function verifyNames(
  on: Throwaway,
  names: { readonly exchanges: readonly string[]; readonly queues: readonly string[] },
): Promise<void> {
  const gone: string[] = [];
  for (const name of names.exchanges) if (!(await exchangeExists(on, name))) gone.push(`exchange "${name}"`);
  for (const name of names.queues) if (!(await queueExists(on, name))) gone.push(`queue "${name}"`);
  if (gone.length > 0) throw missing(...gone);
}

/** All at once, so that nobody has to find them one by one. */
export function missing(...what: readonly string[]): Error {
  const remedy = "declare it by a client with declare: 'create', or import what rabbitmqDefinitions(topic) returns";
  return adapterError('topology-missing', `RabbitMQ has no ${what.join(', no ')}: ${remedy}`);
}
