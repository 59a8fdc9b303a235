import type { AdapterHooks, Topology } from '../../src/port.ts';
import type { KafkaClient, TopicSpec } from './client.ts';
import { durabilityWatch } from './durability.ts';
import { adapterError } from './errors.ts';
import { settleStart, verifyKind } from './group-start.ts';
import { RUNGS } from './ladder.ts';
import { deadTopic, delayTopic, laneTopics, retryTopic } from './names.ts';
import type { Settings } from './options.ts';

/** Kafka's own default of `max.message.bytes`, per batch. */
const DEFAULT_BATCH_BYTES = 1_048_588;
/** Of the topics that are created here: a body of 1 MiB with its headers fits, which it does not by Kafka's default. */
const OWN_BATCH_BYTES = 2 * 1024 * 1024;
/** What marks may add to a message on its way to a ladder or to the dead letters. */
const MARK_BYTES = 1024 * 1024;
const LADDER_RETENTION_MS = 14 * 86_400_000;
const CHECK_AGAIN_AFTER_MS = 20_000;

/** The topics of a topology, created or checked once and remembered. */
export interface TopologyStore {
  /** Lanes, and where the topology's groups begin. */
  declare(topology: Topology): Promise<void>;
  /** Retries and dead letters of one group. */
  declareGroup(topology: Topology, group: string): Promise<void>;
  declareDelays(topology: Topology): Promise<void>;
  /** Most bytes of one batch to this topic. */
  batchBytes(topic: string): number;
  /** What is wrong with the replicas of topics, by what the options promise. */
  weaknesses(): readonly string[];
}

export function topologyStore(client: KafkaClient, settings: Settings, hooks: AdapterHooks): TopologyStore {
  const batchBytes = new Map<string, number>();
  const done = new Map<string, Promise<void>>();
  const durability = durabilityWatch(client, settings, hooks);

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

  /** A topic may gain lanes. Without them, what is in high and low would be read by nobody. */
  async function refuseLost(topic: string): Promise<void> {
    if (hooks.declare === 'none') return;
    const lanes = laneTopics(topic, true).filter((lane) => lane !== topic);
    // Where it may not be seen it counts as not there.
    const counts = await Promise.all(lanes.map((lane) => client.partitionsOf(lane).catch(() => undefined)));
    if (counts.every((count) => count === undefined)) return;
    throw adapterError(
      'topology-conflict',
      `Kafka topic "${topic}" has the lanes ${lanes.map((lane) => `"${lane}"`).join(' and ')}, but is declared without ` +
        'priority, and nobody would read them: keep its priority; or stop its publishers, drain both and delete them',
    );
  }

  const bytesOf = (topic: string): number => batchBytes.get(topic) ?? DEFAULT_BATCH_BYTES;

  return {
    batchBytes: bytesOf,
    weaknesses: durability.weaknesses,
    declare(topology) {
      return once(JSON.stringify(topology), async () => {
        const topics = laneTopics(topology.topic, topology.lanes);
        if (!topology.lanes) await refuseLost(topology.topic);
        await ensure(
          topics.map((topic) => specOf(topic, topology.partitions, { 'max.message.bytes': String(OWN_BATCH_BYTES) })),
        );
        await Promise.all(topics.map(learnBatchBytes));
        await durability.look(topics);
        for (const group of hooks.declare === 'none' ? [] : topology.groups) {
          if (hooks.declare === 'create') await settleStart(client, hooks, topology, group);
          else await verifyKind(client, topology, group);
        }
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
