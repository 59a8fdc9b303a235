import type { Kafka as KafkaJs } from 'kafkajs';
import { again } from './again.ts';
import type { Committed, KafkaClient } from './client.ts';
import { adapterError, messageOf } from './errors.ts';
import { rawClusterOf } from './kafkajs/cluster.ts';
import { coordinatorOf } from './kafkajs/coordinator.ts';
import { isLogin, isTransient, protocolType } from './kafkajs/errors.ts';
import { quietIdleConnections } from './kafkajs/idle.ts';
import { leadership } from './kafkajs/leaders.ts';
import { logger, type Warn } from './kafkajs/log.ts';
import { loginOf } from './kafkajs/login.ts';
import { listOffsets, readLog } from './kafkajs/logs.ts';
import { kafkajsMember } from './kafkajs/member.ts';
import { kafkajsProducer } from './kafkajs/producer.ts';
import { ownSockets, type Sockets } from './kafkajs/sockets.ts';
import { createTopics } from './kafkajs/topics.ts';
import type { Settings } from './options.ts';
import { within } from './within.ts';

const TOPIC_RESOURCE = 2;
const CLOSE_MS = 1_000;
/** How long leaders of a topic that is new, or whose broker was away, are waited for at least. */
const ELECTION_MS = 10_000;
/** kafkajs's own. Short: what must be tried for longer is tried by us, who know the deadline. */
export const RETRY = { retries: 3, initialRetryTime: 50, maxRetryTime: 1_000 } as const;

/** The first driver: kafkajs 2.2.4 or later. One cluster for requests, one per producer, one per consumer. */
export async function kafkajsClient(settings: Settings, clientId: string, warn: Warn): Promise<KafkaClient> {
  const { Kafka, AssignerProtocol, logLevel } = await load();
  quietIdleConnections();

  const logCreator = logger(warn);
  const login = await loginOf(settings.sasl);
  /** Of whatever was opened here: none outlives us. */
  const open = new Set<Sockets>();

  function fresh(): { kafka: KafkaJs; sockets: Sockets } {
    const sockets = ownSockets(() => open.delete(sockets));
    open.add(sockets);
    const kafka = new Kafka({
      brokers: [...settings.brokers],
      clientId,
      ssl: settings.ssl,
      ...(login === undefined ? {} : { sasl: login }),
      connectionTimeout: settings.connectTimeoutMs,
      authenticationTimeout: settings.connectTimeoutMs,
      requestTimeout: settings.requestTimeoutMs,
      retry: RETRY,
      socketFactory: sockets.factory,
      logLevel: logLevel.WARN,
      logCreator,
    });
    return { kafka, sockets };
  }

  const control = fresh();
  const cluster = rawClusterOf(control.kafka, control.sockets);
  const leaders = leadership(cluster, Math.max(settings.requestTimeoutMs, ELECTION_MS));

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
    createTopics: (topics) => createTopics(cluster, leaders, topics, settings.requestTimeoutMs),
    partitionsOf: leaders.partitionsOf,
    replicasOf: leaders.replicasOf,
    async configOf(topic, name) {
      const broker = await cluster.brokerPool.findConnectedBroker();
      const { resources } = await broker.describeConfigs({
        resources: [{ type: TOPIC_RESOURCE, name: topic, configNames: [name] }],
      });
      return resources[0]?.configEntries.find((entry) => entry.configName === name)?.configValue ?? undefined;
    },
    async committed(group, topics) {
      const request = {
        groupId: group,
        topics: [...topics].map(([topic, partitions]) => ({
          topic,
          partitions: Array.from({ length: partitions }, (_, partition) => ({ partition })),
        })),
      };
      const { responses } = await soon(async () => (await coordinatorOf(cluster, group)).offsetFetch(request));
      const result = new Map<string, Committed[]>();
      for (const { topic, partitions } of responses) {
        const list: Committed[] = [];
        for (const { partition, offset, metadata } of partitions) {
          list[partition] = { offset: Number(offset) < 0 ? undefined : Number(offset), metadata: metadata ?? '' };
        }
        result.set(topic, list);
      }
      return result;
    },
    async commitFor(group, offsets) {
      const topics = [...Map.groupBy(offsets, ({ topic }) => topic)].map(([topic, list]) => ({
        topic,
        partitions: list.map(({ partition, offset, metadata }) => ({ partition, offset: String(offset), metadata })),
      }));
      const request = { groupId: group, groupGenerationId: -1, memberId: '', topics };
      await soon(async () => (await coordinatorOf(cluster, group)).offsetCommit(request));
    },
    async offsets(topic, partitions, at) {
      const timestamp = at === 'earliest' ? -2 : at === 'latest' ? -1 : at;
      const list = (wanted: number) =>
        leaders.asking(topic, (known) => listOffsets(cluster, known, { topic, partitions, timestamp: wanted }));
      const result = await list(timestamp);
      if (!result.includes(-1)) return result;
      const latest = await list(-1);
      return result.map((offset, partition) => (offset < 0 ? latest[partition]! : offset));
    },
    read: (place, offset) => leaders.asking(place.topic, (known) => readLog(cluster, known, { ...place, offset })),
    async producer() {
      const { kafka, sockets } = fresh();
      return await kafkajsProducer({
        cluster: rawClusterOf(kafka, sockets),
        sockets,
        requestTimeoutMs: settings.requestTimeoutMs,
        async leaderOf({ topic, partition }, anew) {
          const leader = (await leaders.of(topic, anew)).get(partition);
          if (leader !== undefined) return leader;
          throw adapterError('topology-missing', `Kafka topic "${topic}" has no partition ${partition}`);
        },
      });
    },
    async join(spec, events) {
      const leave = async (groupId: string, memberId: string): Promise<void> => {
        await (await coordinatorOf(cluster, groupId)).leaveGroup({ groupId, memberId });
      };
      const parts = { fresh, codec: AssignerProtocol, settings, leave };
      const { member, joined } = kafkajsMember(parts, spec, events);
      try {
        await within(joined, settings.connectTimeoutMs);
      } catch (error) {
        await member.stop();
        throw error;
      }
      return member;
    },
    async ping() {
      await (await cluster.brokerPool.findConnectedBroker()).apiVersions();
    },
    isTransient,
    async close() {
      await within(
        cluster.disconnect().catch(() => {}),
        CLOSE_MS,
      );
      for (const sockets of [...open]) sockets.kill();
    },
  };
}

/** What a coordinator says while it takes a group over, or of a topic that its leaders knew a moment earlier. */
const SOON_OVER: readonly (string | undefined)[] = [
  'UNKNOWN_TOPIC_OR_PARTITION',
  'NOT_COORDINATOR_FOR_GROUP',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'GROUP_LOAD_IN_PROGRESS',
];

/** Asks again while the coordinator is not ready. */
function soon<T>(ask: () => Promise<T>): Promise<T> {
  return again(ask, (error) => (SOON_OVER.includes(protocolType(error)) ? ELECTION_MS : 0));
}

async function load(): Promise<typeof import('kafkajs')> {
  try {
    return await import('kafkajs');
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw adapterError('missing-peer', 'holdfast/kafka needs the package "kafkajs": npm install kafkajs', error);
  }
}
