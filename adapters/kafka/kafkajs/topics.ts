import type { TopicSpec } from '../client.ts';
import { adapterError } from '../errors.ts';
import type { RawBroker, RawCluster } from './cluster.ts';
import { isTransient, protocolType } from './errors.ts';
import type { Leadership } from './leaders.ts';
import { listOffsets } from './logs.ts';

const AGAIN_MS = 50;
const CREATED_WITHIN_MS = 15_000;
const SHOWN_WITHIN_MS = 10_000;

/** Creates what is missing, and waits until it can be used. */
export async function createTopics(
  cluster: RawCluster,
  leaders: Leadership,
  specs: readonly TopicSpec[],
  timeoutMs: number,
): Promise<void> {
  const request = {
    topics: specs.map(({ topic, partitions, replication, config }) => ({
      topic,
      numPartitions: partitions,
      replicationFactor: replication,
      configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
    })),
    timeout: timeoutMs,
  };
  for (const until = Date.now() + CREATED_WITHIN_MS; ; ) {
    const types = await refusals(cluster, request);
    if (types === undefined || types.types.every((type) => type === 'TOPIC_ALREADY_EXISTS')) break;
    // One that took the controller too long is made all the same, and is found when it is asked for again.
    const passes = types.types.every((type) => type === 'TOPIC_ALREADY_EXISTS' || type === 'REQUEST_TIMED_OUT');
    if (!passes || Date.now() > until) throw explained(types.error, types.types, specs);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
  await Promise.all(specs.map((spec) => shown(cluster, leaders, spec)));
}

interface Refusals {
  readonly error: unknown;
  /** The protocol's error codes, one for each topic that was refused. */
  readonly types: readonly string[];
}

/** Why topics were not made; undefined where all were. Rejects with what is no answer of the broker's. */
async function refusals(
  cluster: RawCluster,
  request: Parameters<RawBroker['createTopics']>[0],
): Promise<Refusals | undefined> {
  try {
    await (await cluster.brokerPool.findConnectedBroker()).createTopics(request).catch(async (error) => {
      // Before KRaft only the controller creates topics.
      if (!failures(error).includes('NOT_CONTROLLER')) throw error;
      await cluster.refreshMetadata();
      return await (await cluster.findControllerBroker()).createTopics(request);
    });
    return undefined;
  } catch (error) {
    const types = failures(error);
    if (types.length === 0) throw error;
    return { error, types };
  }
}

/** A new topic is known to the controller first, to this broker a moment later, and a moment later it has leaders. */
async function shown(cluster: RawCluster, leaders: Leadership, { topic, partitions }: TopicSpec): Promise<void> {
  for (const until = Date.now() + SHOWN_WITHIN_MS; (await leaders.partitionsOf(topic).catch(passing)) === undefined; ) {
    if (Date.now() > until) throw adapterError('broker-unreachable', `the new topic "${topic}" has not appeared`);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
  await leaders.asking(topic, (known) => listOffsets(cluster, known, { topic, partitions, timestamp: -1 }));
}

function passing(error: unknown): undefined {
  if (!isTransient(error)) throw error;
}

function explained(error: unknown, types: readonly string[], specs: readonly TopicSpec[]): unknown {
  const names = specs.map(({ topic }) => `"${topic}"`).join(', ');
  if (types.includes('INVALID_TOPIC_EXCEPTION')) {
    const why = 'names that differ only in "." and "_" collide';
    return adapterError('topology-conflict', `Kafka refuses a topic name among ${names}: ${why}`, error);
  }
  if (types.some((type) => type.endsWith('AUTHORIZATION_FAILED')))
    return adapterError(
      'access-refused',
      `Kafka refuses to create ${names}: the right to create topics is missing`,
      error,
    );
  // kafkajs says no more than "Topic creation errors".
  return new Error(`Kafka did not create ${names}: ${types.join(', ')}`, { cause: error });
}

function failures(error: unknown): string[] {
  const list = (error as { errors?: readonly unknown[] } | null)?.errors;
  if (Array.isArray(list)) return list.map((one) => protocolType(one) ?? '');
  const type = protocolType(error);
  return type === undefined ? [] : [type];
}
