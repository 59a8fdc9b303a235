import { randomUUID } from 'node:crypto';
import { type ConfirmChannel, connect } from 'amqplib';
import { callersFor, openLoop, type Rival } from '../contender.ts';
import { type Event, event } from '../payload.ts';

/** amqplib as an expert uses it: a confirm channel with all callers' confirms outstanding, a quorum queue, batched acknowledgements. */
export function rawRabbitmq(url: string): Rival {
  return {
    name: 'amqplib',
    async open() {
      const [publishing, consuming] = await Promise.all([
        connect(url, { noDelay: true }),
        connect(url, { noDelay: true }),
      ]);
      const queue = `bench.${randomUUID()}`;
      const exchange = queue;
      const channel: ConfirmChannel = await publishing.createConfirmChannel();
      await channel.assertExchange(exchange, 'fanout', { durable: true });
      await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
      await channel.bindQueue(queue, exchange, '');
      // The same properties and headers as holdfast's lean wire.
      const publish = (index: number): Promise<void> =>
        new Promise((resolve, reject) => {
          const payload = event(index);
          channel.publish(
            exchange,
            '',
            Buffer.from(JSON.stringify(payload)),
            {
              persistent: true,
              mandatory: true,
              messageId: randomUUID(),
              type: exchange,
              appId: 'bench',
              contentType: 'application/json',
              timestamp: Math.floor(Date.now() / 1_000),
              headers: { 'hf-key': payload.tenant },
            },
            (error) => (error ? reject(error) : resolve()),
          );
        });
      const each = async (prefetch: number, handler: (payload: Event) => void, count: number): Promise<number> => {
        const reader = await consuming.createChannel();
        await reader.prefetch(prefetch);
        const { promise: all, resolve } = Promise.withResolvers<void>();
        let handled = 0;
        let firstAt = 0;
        await reader.consume(queue, (message) => {
          if (message === null) return;
          firstAt ||= performance.now();
          handler(JSON.parse(message.content.toString()) as Event);
          handled += 1;
          if (handled % 50 === 0 || handled === count) reader.ack(message, true);
          if (handled === count) resolve();
        });
        await all;
        const seconds = (performance.now() - firstAt) / 1_000;
        await reader.close();
        return count / seconds;
      };
      return {
        publish: (callers, seconds) => callersFor(callers, seconds, publish),
        consume: (count) => each(400, () => undefined, count),
        async latency(rate, seconds) {
          const times: number[] = [];
          const done = each(400, ({ at }) => void times.push(performance.now() - at), rate * seconds);
          await openLoop(rate, seconds, (index) => void publish(index));
          await done;
          return times;
        },
        async close() {
          await channel.deleteQueue(queue);
          await channel.deleteExchange(exchange);
          await Promise.all([publishing.close(), consuming.close()]);
        },
      };
    },
  };
}
