import { randomUUID } from 'node:crypto';
import { Kafka, logLevel } from 'kafkajs';
import { groups, topicOf } from '../topics.ts';
import { checkIn, type RawBroker, type RawLetter } from './raw-broker.ts';

/** The server, by kafkajs. */
export async function openKafka(url: string): Promise<RawBroker> {
  muteTimeoutWarnings();
  const kafka = new Kafka({ brokers: [new URL(url).host], clientId: 'chaos', logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();

  /** What stands behind the group's commits. */
  async function lag(groupId: string, topic: string): Promise<number> {
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
    const groupId = `chaos-${randomUUID()}`;
    const consumer = kafka.consumer({ groupId });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
      const eachMessage: NonNullable<Parameters<typeof consumer.run>[0]>['eachMessage'] = async ({ message }) => {
        const { 'hf-id': id, 'hf-reason': reason, 'hf-attempts': attempts } = message.headers ?? {};
        if (message.value === null) letters.delete(String(message.key));
        else
          letters.set(String(message.key), {
            id: String(id),
            reason: String(reason),
            attempts: Number(String(attempts)),
            check: checkIn(message.value.toString()),
          });
        if (Number(message.offset) >= Number(end.high) - 1) resolve();
      };
      consumer.run({ autoCommit: false, eachMessage }).catch(reject);
    });
    await consumer.disconnect();
    await admin.deleteGroups([groupId]);
    return [...letters.values()];
  }

  return {
    async left() {
      const left = new Map<string, number>();
      const topics = await admin.listTopics();
      for (const group of groups) {
        const groupId = `${topicOf(group)}--${group}`;
        for (const topic of [topicOf(group), `${groupId}--retry`]) {
          if (topics.includes(topic)) left.set(`${groupId} of ${topic}`, await lag(groupId, topic));
        }
      }
      return left;
    },
    dead: (group) => readAll(`${topicOf(group)}--${group}--dead`),
    close: () => admin.disconnect(),
  };
}

/** For an idle connection kafkajs computes a negative timeout, of which Node warns. It is harmless here. */
function muteTimeoutWarnings(): void {
  process.removeAllListeners('warning').on('warning', (warning) => {
    if (warning.name !== 'TimeoutNegativeWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`);
  });
}
