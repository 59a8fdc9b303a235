import { randomUUID } from 'node:crypto';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import type { FoundLetter } from './raw-broker.ts';

export interface KafkaReader {
  readonly kafka: Kafka;
  readonly admin: Admin;
  /** How many messages stand behind the group's commits; 0 where there is no such topic. */
  lag(groupId: string, topic: string): Promise<number>;
  /** Of a topic with one partition, from its beginning to where it ends now; of each key, the last value counts. */
  letters(topic: string): Promise<readonly FoundLetter[]>;
}

/** A server by kafkajs. Its `admin` is to be disconnected. */
export async function openReader(url: string, clientId: string): Promise<KafkaReader> {
  muteTimeoutWarnings();
  const kafka = new Kafka({ brokers: [new URL(url).host], clientId, logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const isThere = async (topic: string): Promise<boolean> => (await admin.listTopics()).includes(topic);
  return {
    kafka,
    admin,
    async lag(groupId, topic) {
      if (!(await isThere(topic))) return 0;
      const ends = await admin.fetchTopicOffsets(topic);
      const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] });
      return ends.reduce((sum, { partition, high, low }) => {
        const offset = Number(committed?.partitions.find((one) => one.partition === partition)?.offset ?? -1);
        return sum + Number(high) - Math.max(offset, Number(low));
      }, 0);
    },
    async letters(topic) {
      const letters = new Map<string, FoundLetter>();
      const [end] = (await isThere(topic)) ? await admin.fetchTopicOffsets(topic) : [];
      if (end === undefined || end.high === end.low) return [];
      const groupId = `${clientId}-${randomUUID()}`;
      const consumer = kafka.consumer({ groupId });
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      await new Promise<void>((resolve, reject) => {
        consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
        const eachMessage: NonNullable<Parameters<typeof consumer.run>[0]>['eachMessage'] = async ({ message }) => {
          const { key, value, headers = {}, offset } = message;
          const { 'hf-id': id, 'hf-reason': reason, 'hf-attempts': attempts } = headers;
          if (value === null) letters.delete(String(key));
          else
            letters.set(String(key), {
              id: String(id),
              reason: String(reason),
              attempts: Number(String(attempts)),
              body: value.toString(),
            });
          if (Number(offset) >= Number(end.high) - 1) resolve();
        };
        consumer.run({ autoCommit: false, eachMessage }).catch(reject);
      });
      await consumer.disconnect();
      await admin.deleteGroups([groupId]);
      return [...letters.values()];
    },
  };
}

/** For an idle connection kafkajs computes a negative timeout, of which Node warns. It is harmless here. */
function muteTimeoutWarnings(): void {
  process.removeAllListeners('warning').on('warning', (warning) => {
    if (warning.name !== 'TimeoutNegativeWarning') process.stderr.write(`${warning.name}: ${warning.message}\n`);
  });
}
