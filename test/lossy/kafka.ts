/**
 * A controller and three brokers that have the topic: both followers stand still until the leader is alone in sync, it
 * goes on publishing if it may, is killed, and the followers go on.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { now } from '../chaos/ledger-file.ts';
import { ensureInstalled } from '../fleet/install.ts';
import { startNative } from '../fleet/native.ts';
import { freePorts } from '../fleet/ports.ts';
import { kafkaNode } from '../fleet/recipes/kafka.ts';
import { releaseOf } from '../fleet/releases.ts';
import type { Server } from '../fleet/server.ts';
import { type Scene, until } from './scene.ts';

/** Of the brokers that have replicas; the first node, the controller, has none and is never stopped. */
const IDS = [2, 3, 4] as const;
const HEAP = 192;
/** How long the leader is alone before it is killed. */
const ALONE_MS = { least: 500, most: 1_500 } as const;
/** Where nobody may take over, there is no other leader until the killed one is back. */
const ELECTION_MS = 10_000;

export interface KafkaCase {
  readonly minInsync: 1 | 2;
  /** `unclean.leader.election.enable` */
  readonly unclean: boolean;
}

export async function openKafka({ minInsync, unclean }: KafkaCase): Promise<Scene> {
  muteTimeoutWarnings();
  const nodes = await startNodes();
  const brokers = nodes.map(({ url }) => new URL(url).host);
  const kafka = new Kafka({ brokers: [brokers[0]!], clientId: 'raw', logLevel: logLevel.NOTHING });
  // It may ask one that stands still, or does not know yet: that is not waited for, and `until` asks again.
  const admin = new Kafka({
    brokers: [brokers[0]!],
    clientId: 'raw-admin',
    logLevel: logLevel.NOTHING,
    requestTimeout: 2_000,
    retry: { retries: 0 },
  }).admin();
  await admin.connect();
  await createOffsetsTopic(admin);
  const nodeOf = (id: number): Server => nodes[id - 1]!;
  const stateOf = async (topic: string): Promise<{ readonly leader: number; readonly isr: readonly number[] }> =>
    (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]!.partitions[0]!;
  const inSync = (topic: string, count: number): Promise<void> =>
    until(`${count} of "${topic}" in sync`, async () => (await stateOf(topic)).isr.length === count);
  let killed = 0;
  return {
    version: nodes[0]!.version,
    link: { via: 'kafka', options: { brokers, replication: 3, minInsync, requestTimeoutMs: 5_000 } },
    async prepare(topic, round) {
      const replicas = IDS.map((_, at) => IDS[(at + round) % IDS.length]!);
      const configEntries = [
        { name: 'min.insync.replicas', value: String(minInsync) },
        { name: 'unclean.leader.election.enable', value: String(unclean) },
      ];
      await admin.createTopics({
        topics: [{ topic, replicaAssignment: [{ partition: 0, replicas }], configEntries }],
        waitForLeaders: false,
      });
      await inSync(topic, IDS.length);
    },
    async strike(topic, chance) {
      killed = (await stateOf(topic)).leader;
      for (const id of IDS) if (id !== killed) await nodeOf(id).pause();
      await inSync(topic, 1);
      await sleep(ALONE_MS.least + chance * (ALONE_MS.most - ALONE_MS.least));
      const at = now();
      await nodeOf(killed).kill();
      return at;
    },
    async recover(topic) {
      for (const id of IDS) if (id !== killed) await nodeOf(id).resume();
      const isAnother = async (): Promise<boolean> => {
        const { leader } = await stateOf(topic);
        return leader > 0 && leader !== killed;
      };
      await until('another leader', isAnother, ELECTION_MS).catch(() => undefined);
      await nodeOf(killed).restart();
      await inSync(topic, IDS.length);
    },
    async found(topic) {
      let end: { readonly high: string } | undefined;
      await until(`the end of "${topic}"`, async () => {
        [end] = await admin.fetchTopicOffsets(topic);
        return end !== undefined;
      });
      const high = Number(end?.high);
      if (high === 0) return [];
      const consumer = kafka.consumer({ groupId: `raw-${randomUUID()}` });
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      const ids: string[] = [];
      await new Promise<void>((resolve, reject) => {
        consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
        const eachMessage: NonNullable<Parameters<typeof consumer.run>[0]>['eachMessage'] = async ({ message }) => {
          if (Number(message.offset) < high) ids.push(String(message.headers?.['hf-id']));
          if (Number(message.offset) >= high - 1) resolve();
        };
        consumer.run({ autoCommit: false, eachMessage }).catch(reject);
      });
      await consumer.disconnect();
      return ids;
    },
    async close() {
      await admin.disconnect();
      await Promise.all(IDS.map((id) => nodeOf(id).kill()));
      for (const node of nodes.toReversed()) await node.stop();
    },
  };
}

/** On the broker that is never stopped, so that readers find their coordinator at once. */
async function createOffsetsTopic(admin: Admin): Promise<void> {
  const replicaAssignment = Array.from({ length: 8 }, (_, partition) => ({ partition, replicas: [1] }));
  const configEntries = [{ name: 'cleanup.policy', value: 'compact' }];
  const topics = [{ topic: '__consumer_offsets', replicaAssignment, configEntries }];
  await admin.createTopics({ topics, waitForLeaders: false });
}

async function startNodes(): Promise<readonly Server[]> {
  const installed = await ensureInstalled(releaseOf('kafka'));
  const [controllerPort] = await freePorts(1);
  const config = { 'replica.lag.time.max.ms': '3000' };
  const nodes: Server[] = [];
  // One after the other: four virtual machines that start at once are slower still.
  for (const id of [1, ...IDS])
    nodes.push(
      await startNative('kafka', kafkaNode({ id, controllerPort: controllerPort!, heap: HEAP }), installed, { config }),
    );
  return nodes;
}

/** For an idle connection kafkajs computes a negative timeout, of which Node warns. It is harmless here. */
function muteTimeoutWarnings(): void {
  process.removeAllListeners('warning').on('warning', (warning) => {
    if (warning.name !== 'TimeoutNegativeWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`);
  });
}
