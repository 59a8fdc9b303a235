import type { Committed, KafkaClient, Place, TopicSpec } from './client.ts';
import { adapterError, messageOf } from './errors.ts';
import { type RawBroker, type RawCluster, rawClusterOf } from './kafkajs/cluster.ts';
import { isLogin, isTransient, protocolType } from './kafkajs/errors.ts';
import { quietIdleConnections } from './kafkajs/idle.ts';
import { logger, type Warn } from './kafkajs/log.ts';
import { kafkajsMember } from './kafkajs/member.ts';
import { kafkajsProducer } from './kafkajs/producer.ts';
import { recordOf } from './kafkajs/records.ts';
import { ownSockets, type Sockets } from './kafkajs/sockets.ts';
import type { Settings } from './options.ts';

const TOPIC_RESOURCE = 2;
const READ_COMMITTED = 1;
const READ_BYTES = 1024 * 1024;
const LEADERS_FOR_MS = 60_000;
const AGAIN_MS = 50;
const SHOWN_WITHIN_MS = 10_000;
const CLOSE_MS = 1_000;

/** The first driver: kafkajs 2.2.4 or later. */
export async function kafkajsClient(settings: Settings, clientId: string, warn: Warn): Promise<KafkaClient> {
  const { Kafka, AssignerProtocol, logLevel } = await load();
  quietIdleConnections();

  const logCreator = logger(warn);
  /** Of whatever was opened here: none outlives us. */
  const all = new Set<Sockets>();

  function fresh(): { kafka: InstanceType<typeof Kafka>; sockets: Sockets } {
    const sockets = ownSockets();
    all.add(sockets);
    const kafka = new Kafka({
      brokers: [...settings.brokers],
      clientId,
      ssl: settings.ssl,
      ...(settings.sasl === undefined ? {} : { sasl: settings.sasl }),
      connectionTimeout: settings.connectTimeoutMs,
      authenticationTimeout: settings.connectTimeoutMs,
      requestTimeout: settings.requestTimeoutMs,
      // Short: what must be tried for longer is tried by us, who know the deadline.
      retry: { retries: 3, initialRetryTime: 50, maxRetryTime: 1_000 },
      socketFactory: sockets.factory,
      logLevel: logLevel.WARN,
      logCreator,
    });
    return { kafka, sockets };
  }

  const control = fresh();
  const cluster: RawCluster = rawClusterOf(control.kafka);
  const leaders = new Map<string, { readonly byPartition: ReadonlyMap<number, number>; readonly until: number }>();

  async function describe(topic: string): Promise<ReadonlyMap<number, number>> {
    const broker = await cluster.brokerPool.findConnectedBroker();
    const { topicMetadata } = await broker.metadata([topic]);
    const found = topicMetadata.find((one) => one.topic === topic);
    const byPartition = new Map((found?.partitionMetadata ?? []).map((one) => [one.partitionId, one.leader]));
    leaders.set(topic, { byPartition, until: Date.now() + LEADERS_FOR_MS });
    return byPartition;
  }

  async function leadersOf(topic: string): Promise<ReadonlyMap<number, number>> {
    const known = leaders.get(topic);
    return known !== undefined && Date.now() < known.until ? known.byPartition : await describe(topic);
  }

  async function node(nodeId: number): Promise<RawBroker> {
    try {
      return await cluster.findBroker({ nodeId });
    } catch {
      await cluster.refreshMetadata();
      return await cluster.findBroker({ nodeId });
    }
  }

  /** Leaders move, and take a moment to lead: what fails at an old one is asked again of the new one. */
  async function ofLeaders<T>(topic: string, ask: (leaders: ReadonlyMap<number, number>) => Promise<T>): Promise<T> {
    for (const until = Date.now() + settings.requestTimeoutMs; ; ) {
      try {
        return await ask(await leadersOf(topic));
      } catch (error) {
        if (!isTransient(error) || Date.now() > until) throw error;
        leaders.delete(topic);
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }

  async function leave(groupId: string, memberId: string): Promise<void> {
    const coordinator = await cluster.findGroupCoordinator({ groupId });
    await coordinator.leaveGroup({ groupId, memberId });
  }

  async function partitionsOf(topic: string): Promise<number | undefined> {
    try {
      return (await describe(topic)).size;
    } catch (error) {
      const type = protocolType(error);
      if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return undefined;
      throw error;
    }
  }

  /** A new topic is known to the controller first, to this broker a moment later, and a moment later it has leaders. */
  async function shown({ topic, partitions }: TopicSpec): Promise<void> {
    for (const until = Date.now() + SHOWN_WITHIN_MS; (await partitionsOf(topic).catch(retriable)) === undefined; ) {
      if (Date.now() > until) throw adapterError('broker-unreachable', `the new topic "${topic}" has not appeared`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    await ofLeaders(topic, (byPartition) => listOffsets(topic, partitions, -1, byPartition));
  }

  return {
    async connect() {
      try {
        await cluster.connect();
        await cluster.refreshMetadata();
      } catch (error) {
        control.sockets.kill();
        if (isLogin(error)) throw adapterError('access-refused', `Kafka refused the login: ${messageOf(error)}`, error);
        const where = settings.brokers.join(', ');
        throw adapterError('broker-unreachable', `no Kafka broker answers at ${where}: ${messageOf(error)}`, error);
      }
    },
    async createTopics(topics) {
      const request = {
        topics: topics.map(({ topic, partitions, replication, config }) => ({
          topic,
          numPartitions: partitions,
          replicationFactor: replication,
          configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
        })),
        timeout: settings.requestTimeoutMs,
      };
      try {
        await (await cluster.brokerPool.findConnectedBroker()).createTopics(request).catch(async (error) => {
          if (!failures(error).includes('NOT_CONTROLLER')) throw error;
          await cluster.refreshMetadata();
          return await (await cluster.findControllerBroker()).createTopics(request);
        });
      } catch (error) {
        const types = failures(error);
        const names = topics.map(({ topic }) => `"${topic}"`).join(', ');
        if (types.includes('INVALID_TOPIC_EXCEPTION'))
          throw adapterError(
            'topology-conflict',
            `Kafka refuses a topic name among ${names}: names that differ only in "." and "_" collide`,
            error,
          );
        if (types.some((type) => type.endsWith('AUTHORIZATION_FAILED')))
          throw adapterError('access-refused', `Kafka refuses to create ${names}: the right CREATE is missing`, error);
        if (types.length === 0 || types.some((type) => type !== 'TOPIC_ALREADY_EXISTS')) throw error;
      }
      await Promise.all(topics.map(shown));
    },
    partitionsOf,
    async configOf(topic, name) {
      const broker = await cluster.brokerPool.findConnectedBroker();
      const { resources } = await broker.describeConfigs({
        resources: [{ type: TOPIC_RESOURCE, name: topic, configNames: [name] }],
      });
      return resources[0]?.configEntries.find((entry) => entry.configName === name)?.configValue ?? undefined;
    },
    async committed(group, topics) {
      const coordinator = await cluster.findGroupCoordinator({ groupId: group });
      const { responses } = await coordinator.offsetFetch({
        groupId: group,
        topics: [...topics].map(([topic, partitions]) => ({
          topic,
          partitions: Array.from({ length: partitions }, (_, partition) => ({ partition })),
        })),
      });
      const result = new Map<string, Committed[]>();
      for (const { topic, partitions } of responses) {
        const list: Committed[] = [];
        for (const { partition, offset, metadata } of partitions) {
          const number = Number(offset);
          list[partition] = { offset: number < 0 ? undefined : number, metadata: metadata ?? '' };
        }
        result.set(topic, list);
      }
      return result;
    },
    async commitFor(group, offsets) {
      const coordinator = await cluster.findGroupCoordinator({ groupId: group });
      const topics = [...Map.groupBy(offsets, ({ topic }) => topic)].map(([topic, list]) => ({
        topic,
        partitions: list.map(({ partition, offset, metadata }) => ({ partition, offset: String(offset), metadata })),
      }));
      await coordinator.offsetCommit({ groupId: group, groupGenerationId: -1, memberId: '', topics });
    },
    async offsets(topic, partitions, at) {
      const timestamp = at === 'earliest' ? -2 : at === 'latest' ? -1 : at;
      const result = await ofLeaders(topic, (byPartition) => listOffsets(topic, partitions, timestamp, byPartition));
      if (!result.includes(-1)) return result;
      const latest = await ofLeaders(topic, (byPartition) => listOffsets(topic, partitions, -1, byPartition));
      return result.map((offset, partition) => (offset < 0 ? latest[partition]! : offset));
    },
    read: ({ topic, partition }, offset) =>
      ofLeaders(topic, (byPartition) => read({ topic, partition }, offset, byPartition)),
    async producer() {
      const { kafka, sockets } = fresh();
      return await kafkajsProducer({
        cluster: rawClusterOf(kafka),
        sockets,
        requestTimeoutMs: settings.requestTimeoutMs,
        async leaderOf({ topic, partition }, anew) {
          const leader = (await (anew ? describe(topic) : leadersOf(topic))).get(partition);
          if (leader !== undefined) return leader;
          throw adapterError('topology-missing', `Kafka topic "${topic}" has no partition ${partition}`);
        },
      });
    },
    async join(spec, events) {
      const { member, joined } = kafkajsMember({ fresh, codec: AssignerProtocol, settings, leave }, spec, events);
      const patience = Promise.withResolvers<void>();
      const timer = setTimeout(patience.resolve, settings.connectTimeoutMs);
      try {
        await Promise.race([joined, patience.promise]);
      } catch (error) {
        await member.stop();
        throw error;
      } finally {
        clearTimeout(timer);
      }
      return member;
    },
    async ping() {
      const broker = await cluster.brokerPool.findConnectedBroker();
      await (broker as unknown as { apiVersions(): Promise<unknown> }).apiVersions();
    },
    isTransient,
    async close() {
      const timer = Promise.withResolvers<void>();
      const handle = setTimeout(timer.resolve, CLOSE_MS);
      await Promise.race([cluster.disconnect().catch(() => {}), timer.promise]);
      clearTimeout(handle);
      for (const sockets of all) sockets.kill();
    },
  };

  async function listOffsets(
    topic: string,
    partitions: number,
    timestamp: number,
    byPartition: ReadonlyMap<number, number>,
  ): Promise<number[]> {
    const result: number[] = Array.from({ length: partitions }, () => -1);
    const numbers = Array.from({ length: partitions }, (_, partition) => partition);
    const byLeader = Map.groupBy(numbers, (partition) => byPartition.get(partition));
    for (const [leader, list] of byLeader) {
      if (leader === undefined) continue;
      const { responses } = await (await node(leader)).listOffsets({
        replicaId: -1,
        isolationLevel: READ_COMMITTED,
        topics: [{ topic, partitions: list.map((partition) => ({ partition, timestamp })) }],
      });
      for (const entry of responses.flatMap((one) => one.partitions)) result[entry.partition] = Number(entry.offset);
    }
    return result;
  }

  async function read(place: Place, offset: number, byPartition: ReadonlyMap<number, number>) {
    const { topic, partition } = place;
    const leader = byPartition.get(partition);
    if (leader === undefined) throw adapterError('topology-missing', `"${topic}" has no partition ${partition}`);
    const { responses } = await (await node(leader)).fetch({
      maxWaitTime: 1,
      minBytes: 1,
      maxBytes: READ_BYTES,
      isolationLevel: READ_COMMITTED,
      topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: READ_BYTES }] }],
    });
    const messages = responses.flatMap((one) => one.partitions).flatMap((one) => one.messages);
    const wanted = messages.filter((message) => Number(message.offset) >= offset);
    const last = wanted.at(-1);
    return {
      records: wanted.filter((message) => message.isControlRecord !== true).map(recordOf),
      next: last === undefined ? offset : Number(last.offset) + 1,
    };
  }
}

function retriable(error: unknown): undefined {
  if (!isTransient(error)) throw error;
}

function failures(error: unknown): string[] {
  const list = (error as { errors?: readonly unknown[] } | null)?.errors;
  if (Array.isArray(list)) return list.map((one) => protocolType(one) ?? '');
  const type = protocolType(error);
  return type === undefined ? [] : [type];
}

async function load(): Promise<typeof import('kafkajs')> {
  try {
    return await import('kafkajs');
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw adapterError('missing-peer', 'holdfast/kafka needs the package "kafkajs": npm install kafkajs', error);
  }
}
