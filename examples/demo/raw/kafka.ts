import { randomUUID } from 'node:crypto';
import { partitionOf } from 'holdfast';
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { flightReported, PARTITIONS } from '../topics.ts';
import type { RawBroker, RawLetter } from './raw-broker.ts';

/** The server, by kafkajs. */
export async function openKafka(url: string): Promise<RawBroker> {
  muteTimeoutWarnings();
  const kafka = new Kafka({ brokers: [new URL(url).host], clientId: 'demo', logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await Promise.all([admin.connect(), producer.connect()]);
  const topic = flightReported.name;

  /** What stands behind the group's commits. */
  async function lag(groupId: string, topic: string): Promise<number> {
    if (!(await admin.listTopics()).includes(topic)) return 0;
    const ends = await admin.fetchTopicOffsets(topic);
    const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] });
    return ends.reduce((sum, { partition, high, low }) => {
      const offset = Number(committed?.partitions.find((one) => one.partition === partition)?.offset ?? -1);
      return sum + Number(high) - Math.max(offset, Number(low));
    }, 0);
  }

  /** Reads one partition from its beginning to where it ends now; of each key, the last value counts. */
  async function readAll(topic: string): Promise<RawLetter[]> {
    const letters = new Map<string, RawLetter>();
    const [end] = (await admin.listTopics()).includes(topic) ? await admin.fetchTopicOffsets(topic) : [];
    if (end === undefined || end.high === end.low) return [];
    const groupId = `demo-${randomUUID()}`;
    const consumer = kafka.consumer({ groupId });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
      const eachMessage: NonNullable<Parameters<typeof consumer.run>[0]>['eachMessage'] = async ({ message }) => {
        const { 'hf-id': id, 'hf-reason': reason } = message.headers ?? {};
        if (message.value === null) letters.delete(String(message.key));
        else letters.set(String(message.key), { id: String(id), reason: String(reason) });
        if (Number(message.offset) >= Number(end.high) - 1) resolve();
      };
      consumer.run({ autoCommit: false, eachMessage }).catch(reject);
    });
    await consumer.disconnect();
    await admin.deleteGroups([groupId]);
    return [...letters.values()];
  }

  return {
    async add({ id, key, body }) {
      const message = { key, value: body, partition: partitionOf(key, PARTITIONS), headers: { 'hf-id': id } };
      await producer.send({ topic, messages: [message] });
    },
    async left(group) {
      const groupId = `${topic}--${group}`;
      return (await lag(groupId, topic)) + (await lag(groupId, `${groupId}--retry`));
    },
    dead: (group) => readAll(`${topic}--${group}--dead`),
    async close() {
      await Promise.all([admin.disconnect(), producer.disconnect()]);
    },
  };
}

/** For an idle connection kafkajs computes a negative timeout, of which Node warns. It is harmless here. */
function muteTimeoutWarnings(): void {
  process.removeAllListeners('warning').on('warning', (warning) => {
    if (warning.name !== 'TimeoutNegativeWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`);
  });
}
