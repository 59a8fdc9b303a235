import type { AdapterHooks, GroupTopology, Topology } from '../../src/port.ts';
import type { Committed, KafkaClient, Place, TopicSpec } from './client.ts';
import { adapterError, messageOf } from './errors.ts';
import { RUNGS } from './ladder.ts';
import { deadTopic, delayTopic, groupId, laneTopics, retryTopic } from './names.ts';
import type { Settings } from './options.ts';
import { CLEAN } from './start.ts';

/** Kafka's own default of `max.message.bytes`, per batch. */
const DEFAULT_BATCH_BYTES = 1_048_588;
/** Of the topics that are created here: a body of 1 MiB with its headers fits, which it does not by Kafka's default. */
const OWN_BATCH_BYTES = 2 * 1024 * 1024;
/** What marks may add to a message on its way to a ladder or to the dead letters. */
const MARK_BYTES = 1024 * 1024;
const LADDER_RETENTION_MS = 14 * 86_400_000;
const CHECK_AGAIN_AFTER_MS = 20_000;
const PATIENCE_MS = 15_000;

/** The topics of a topology, created or checked once and remembered. */
export interface TopologyStore {
  /** Lanes, and where the topology's groups begin. */
  declare(topology: Topology): Promise<void>;
  /** Retries and dead letters of one group. */
  declareGroup(topology: Topology, group: string): Promise<void>;
  declareDelays(topology: Topology): Promise<void>;
  /** Most bytes of one batch to this topic. */
  batchBytes(topic: string): number;
}

export function topologyStore(client: KafkaClient, settings: Settings, hooks: AdapterHooks): TopologyStore {
  const batchBytes = new Map<string, number>();
  const done = new Map<string, Promise<void>>();

  /** Concurrent and recent calls share one. */
  function once(what: string, work: () => Promise<void>): Promise<void> {
    const running = done.get(what);
    if (running) return running;
    const promise = work();
    done.set(what, promise);
    promise.then(
      () => setTimeout(() => done.delete(what), CHECK_AGAIN_AFTER_MS).unref(),
      () => done.delete(what),
    );
    return promise;
  }

  async function ensure(specs: readonly TopicSpec[]): Promise<void> {
    if (hooks.declare === 'none') return;
    const counts = await Promise.all(specs.map(({ topic }) => client.partitionsOf(topic)));
    const missing = specs.filter((_, index) => counts[index] === undefined);
    if (missing.length > 0) {
      if (hooks.declare === 'verify')
        throw adapterError('topology-missing', `Kafka has no topic "${missing[0]!.topic}", and declare is 'verify'`);
      await client.createTopics(missing);
      // Somebody else may have created it meanwhile, with another number of partitions.
      for (const spec of missing) check(spec, await client.partitionsOf(spec.topic));
    }
    for (const [index, spec] of specs.entries()) if (counts[index] !== undefined) check(spec, counts[index]);
  }

  function specOf(topic: string, partitions: number, config: Record<string, string> = {}): TopicSpec {
    const insync = settings.minInsync === undefined ? {} : { 'min.insync.replicas': String(settings.minInsync) };
    return { topic, partitions, replication: settings.replication, config: { ...insync, ...config } };
  }

  const ladderSpec = (topic: string, largest: number): TopicSpec =>
    specOf(topic, RUNGS.length, {
      // Rests are counted from these stamps, by one clock: the broker's.
      'message.timestamp.type': 'LogAppendTime',
      'retention.ms': String(LADDER_RETENTION_MS),
      'max.message.bytes': String(largest + MARK_BYTES),
    });

  async function learnBatchBytes(topic: string): Promise<void> {
    if (batchBytes.has(topic)) return;
    const value = await client.configOf(topic, 'max.message.bytes').catch(() => undefined);
    // Without the right to read it, Kafka's default is a good guess: a refusal is mapped all the same.
    const number = Number(value);
    batchBytes.set(topic, Number.isInteger(number) && number > 0 ? number : DEFAULT_BATCH_BYTES);
  }

  const bytesOf = (topic: string): number => batchBytes.get(topic) ?? DEFAULT_BATCH_BYTES;

  return {
    batchBytes: bytesOf,
    declare(topology) {
      return once(JSON.stringify(topology), async () => {
        const topics = laneTopics(topology.topic, topology.lanes);
        await ensure(
          topics.map((topic) => specOf(topic, topology.partitions, { 'max.message.bytes': String(OWN_BATCH_BYTES) })),
        );
        await Promise.all(topics.map(learnBatchBytes));
        if (hooks.declare === 'create')
          for (const group of topology.groups) await settleStart(client, hooks, topology, group);
      });
    },
    declareGroup(topology, group) {
      return once(`group ${topology.topic}--${group}`, async () => {
        const largest = bytesOf(topology.topic);
        const retry = retryTopic(topology.topic, group);
        const dead = deadTopic(topology.topic, group);
        await ensure([
          ladderSpec(retry, largest),
          specOf(dead, 1, { 'cleanup.policy': 'compact', 'max.message.bytes': String(largest + MARK_BYTES) }),
        ]);
        batchBytes.set(retry, largest + MARK_BYTES);
        batchBytes.set(dead, largest + MARK_BYTES);
      });
    },
    declareDelays(topology) {
      return once(`delays ${topology.topic}`, async () => {
        const largest = bytesOf(topology.topic);
        await ensure([ladderSpec(delayTopic(topology.topic), largest)]);
        batchBytes.set(delayTopic(topology.topic), largest + MARK_BYTES);
      });
    },
  };
}

function check({ topic, partitions }: TopicSpec, found: number | undefined): void {
  if (found === undefined || found === partitions) return;
  throw adapterError(
    'topology-conflict',
    `Kafka topic "${topic}" has ${found} partitions, but ${partitions} are declared: changing the number moves keys ` +
      'between partitions and breaks their order. Declare what is there, or drain and move to a new topic',
  );
}

/**
 * Fixes where a group begins, by its first commit, once for all: from then on neither another `from` nor a late first
 * consumer changes it. A group in use refuses the commit and needs none.
 */
async function settleStart(
  client: KafkaClient,
  hooks: AdapterHooks,
  topology: Topology,
  group: GroupTopology,
): Promise<void> {
  const topics = laneTopics(topology.topic, topology.lanes);
  const id = groupId(topology.topic, group.name);
  const from = group.from ?? 'earliest';
  try {
    await patiently(client, async () => {
      const committed = await client.committed(id, new Map(topics.map((topic) => [topic, topology.partitions])));
      const starts: (Place & { offset: number; metadata: string })[] = [];
      for (const topic of topics) {
        const known: readonly Committed[] = committed.get(topic) ?? [];
        if (known.length > 0 && known.every((one) => one.offset !== undefined)) continue;
        const offsets = await client.offsets(topic, topology.partitions, from);
        for (const [partition, offset] of offsets.entries())
          if (known[partition]?.offset === undefined) starts.push({ topic, partition, offset, metadata: CLEAN });
      }
      if (starts.length > 0) await client.commitFor(id, starts);
    });
  } catch (error) {
    const text = messageOf(error);
    if (/not aware of this member|generation id|rebalanc/i.test(text)) return;
    // The consumers of a group without commits begin at the earliest message anyhow.
    if (from !== 'earliest') throw error;
    hooks.emit({ type: 'warning', code: 'group-start', detail: `could not fix the start of group "${id}": ${text}` });
  }
}

/** A coordinator that moves or loads its state says so and is asked again. */
export async function patiently<T>(client: KafkaClient, work: () => Promise<T>): Promise<T> {
  for (const until = Date.now() + PATIENCE_MS; ; ) {
    try {
      return await work();
    } catch (error) {
      const hopeless = /not aware of this member|generation id/i.test(messageOf(error));
      if (hopeless || Date.now() > until || !client.isTransient(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
