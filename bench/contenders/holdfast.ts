import { randomUUID } from 'node:crypto';
import { type BrokerAdapter, connect, defineTopic } from 'holdfast';
import { callersFor, openLoop, type Rival } from '../contender.ts';
import { type Event, event } from '../payload.ts';

export function holdfast(adapter: () => BrokerAdapter, partitions?: number): Rival {
  return {
    name: 'holdfast',
    async open() {
      const topic = defineTopic<Event>(`bench.${randomUUID()}`, {
        key: ({ tenant }) => tenant,
        groups: ['bench'],
        ...(partitions === undefined ? {} : { partitions }),
      });
      const client = await connect({ adapter: adapter(), source: 'bench' });
      const publish = (index: number): Promise<unknown> => client.publish(topic, event(index));
      return {
        publish: (callers, seconds) => callersFor(callers, seconds, publish),
        async consume(count) {
          let handled = 0;
          let firstAt = 0;
          const { promise: all, resolve } = Promise.withResolvers<void>();
          const consumer = await client.consume(topic, { group: 'bench', concurrency: 200 }, async () => {
            firstAt ||= performance.now();
            handled += 1;
            if (handled === count) resolve();
          });
          await all;
          const seconds = (performance.now() - firstAt) / 1_000;
          await consumer.close();
          return count / seconds;
        },
        async latency(rate, seconds) {
          const times: number[] = [];
          const { promise: all, resolve } = Promise.withResolvers<void>();
          const consumer = await client.consume(topic, { group: 'bench', concurrency: 200 }, ({ payload }) => {
            times.push(performance.now() - payload.at);
            if (times.length === rate * seconds) resolve();
          });
          await openLoop(rate, seconds, (index) => void publish(index));
          await all;
          await consumer.close();
          return times;
        },
        close: async () => void (await client.close()),
      };
    },
  };
}
