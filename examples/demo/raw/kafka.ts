import { partitionOf } from 'holdfast';
import { Partitioners } from 'kafkajs';
import { flightReported, PARTITIONS } from '../topics.ts';
import { openReader } from './kafka-reader.ts';
import type { RawBroker } from './raw-broker.ts';

/** The server, by kafkajs. */
export async function openKafka(url: string): Promise<RawBroker> {
  const { kafka, admin, lag, letters } = await openReader(url, 'demo');
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  const topic = flightReported.name;
  return {
    async add({ id, key, body }) {
      const message = { key, value: body, partition: partitionOf(key, PARTITIONS), headers: { 'hf-id': id } };
      await producer.send({ topic, messages: [message] });
    },
    async left(group) {
      const groupId = `${topic}--${group}`;
      return (await lag(groupId, topic)) + (await lag(groupId, `${groupId}--retry`));
    },
    dead: (group) => letters(`${topic}--${group}--dead`),
    async close() {
      await Promise.all([admin.disconnect(), producer.disconnect()]);
    },
  };
}
