import { randomUUID } from 'node:crypto';
import kafkajs from 'kafkajs';
import { callersFor, openLoop, type Rival } from '../contender.ts';
import { type Event, event } from '../payload.ts';

export const PARTITIONS = 4;

/** kafkajs as an expert uses it: idempotent, arrays of what waits, one send after the other; or one send per message. */
export function rawKafka(brokers: readonly string[], mode: 'arrays' | 'single'): Rival {
  return {
    name: mode === 'arrays' ? 'kafkajs arrays' : 'kafkajs single sends',
    async open() {
      const topic = `bench-${randomUUID()}`;
      const client = new kafkajs.Kafka({
        clientId: 'bench',
        brokers: [...brokers],
        logLevel: kafkajs.logLevel.NOTHING,
      });
      const admin = client.admin();
      await admin.connect();
      await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: PARTITIONS }] });
      const producer = client.producer({
        idempotent: true,
        allowAutoTopicCreation: false,
        createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      });
      await producer.connect();
      const message = (index: number): kafkajs.Message => {
        const payload = event(index);
        return {
          key: payload.tenant,
          value: JSON.stringify(payload),
          headers: { 'hf-id': randomUUID(), 'hf-source': 'bench', 'content-type': 'application/json' },
        };
      };
      const waiting: { message: kafkajs.Message; resolve: () => void; reject: (error: unknown) => void }[] = [];
      let sending = false;
      const flush = async (): Promise<void> => {
        if (sending) return;
        sending = true;
        while (waiting.length > 0) {
          const batch = waiting.splice(0, 1_000);
          try {
            await producer.send({ topic, acks: -1, messages: batch.map((entry) => entry.message) });
            for (const entry of batch) entry.resolve();
          } catch (error) {
            for (const entry of batch) entry.reject(error);
          }
        }
        sending = false;
      };
      const publish = (index: number): Promise<unknown> =>
        mode === 'single'
          ? producer.send({ topic, acks: -1, messages: [message(index)] })
          : new Promise<void>((resolve, reject) => {
              waiting.push({ message: message(index), resolve, reject });
              queueMicrotask(() => void flush());
            });
      const each = async (handler: (payload: Event) => void, count: number, ready?: () => void): Promise<number> => {
        const consumer = client.consumer({ groupId: topic, maxWaitTimeInMs: 100 });
        const { promise: all, resolve } = Promise.withResolvers<void>();
        let handled = 0;
        let firstAt = 0;
        consumer.on('consumer.group_join', () => ready?.());
        await consumer.connect();
        await consumer.subscribe({ topic, fromBeginning: true });
        await consumer.run({
          eachBatch: async ({ batch }) => {
            firstAt ||= performance.now();
            for (const { value } of batch.messages) {
              handler(JSON.parse(String(value)) as Event);
              handled += 1;
            }
            if (handled >= count) resolve();
          },
        });
        await all;
        const seconds = (performance.now() - firstAt) / 1_000;
        await consumer.disconnect();
        return count / seconds;
      };
      return {
        publish: (callers, seconds) => callersFor(callers, seconds, publish),
        consume: (count) => each(() => undefined, count),
        async latency(rate, seconds) {
          const times: number[] = [];
          const joined = Promise.withResolvers<void>();
          const done = each(({ at }) => void times.push(performance.now() - at), rate * seconds, joined.resolve);
          await joined.promise;
          await openLoop(rate, seconds, (index) => void publish(index));
          await done;
          return times;
        },
        async close() {
          await producer.disconnect();
          await admin.deleteTopics({ topics: [topic] });
          await admin.disconnect();
        },
      };
    },
  };
}
