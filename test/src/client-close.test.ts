import { expect, it } from 'vitest';
import { memory } from '../../adapters/memory/index.ts';
import { connect, defineTopic } from '../../src/index.ts';
import type { Source } from '../../src/port.ts';
import { fakeAdapter, fakeSource, gate } from './fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const next = defineTopic<number>('next', { groups: ['h'] });

it('G9: a handler that still runs while the client closes can publish', async () => {
  const client = await connect({ adapter: memory() });
  const started = gate();
  const finish = gate();
  const published: unknown[] = [];
  await client.consume(topic, { group: 'g' }, async ({ payload }) => {
    started.open();
    await finish.opened;
    published.push(await client.publish(next, payload));
  });
  await client.publish(topic, 1);
  await started.opened;
  const closing = client.close();
  finish.open();
  expect(await closing).toMatchObject({ completed: 1, givenBack: 0 });
  expect(published).toMatchObject([{ outcome: 'confirmed' }]);
  await expect(client.publish(next, 2)).rejects.toMatchObject({ code: 'client-closed' });
});

it('a consumer that is still subscribing when the client closes is stopped before the adapter closes', async () => {
  const subscribing = gate();
  const subscribed = gate<Source>();
  const log: string[] = [];
  const client = await connect({
    adapter: fakeAdapter({
      async subscribe() {
        subscribing.open();
        return subscribed.opened;
      },
      async close() {
        log.push('adapter closed');
      },
    }),
  });
  const consuming = client.consume(topic, { group: 'g' }, () => undefined);
  const refused = expect(consuming).rejects.toMatchObject({ code: 'client-closed' });
  await subscribing.opened;
  const closing = client.close();
  subscribed.open(fakeSource({ stop: async () => void log.push('source stopped') }));
  await closing;
  await refused;
  expect(log).toEqual(['source stopped', 'adapter closed']);
});

it('the client waits for a consumer that is being closed already', async () => {
  const stopping = gate();
  const log: string[] = [];
  const client = await connect({
    adapter: fakeAdapter({
      subscribe: async () =>
        fakeSource({
          async stop() {
            await stopping.opened;
            log.push('source stopped');
          },
        }),
      async close() {
        log.push('adapter closed');
      },
    }),
  });
  const consumer = await client.consume(topic, { group: 'g' }, () => undefined);
  const first = consumer.close();
  const closing = client.close();
  await new Promise((resolve) => setImmediate(resolve));
  stopping.open();
  await Promise.all([first, closing]);
  expect(log).toEqual(['source stopped', 'adapter closed']);
});

it('a source that cannot be stopped keeps nothing else from closing', async () => {
  const log: string[] = [];
  const client = await connect({
    adapter: fakeAdapter({
      subscribe: async () => fakeSource({ stop: () => Promise.reject(new Error('the channel is gone')) }),
      async close() {
        log.push('adapter closed');
      },
    }),
  });
  await client.consume(topic, { group: 'g' }, () => undefined);
  await expect(client.close()).rejects.toMatchObject({ code: 'adapter-failed' });
  expect(log).toEqual(['adapter closed']);
});

it('publishAll answers for each message, also where optionsFor or the input is at fault', async () => {
  const client = await connect({ adapter: memory() });
  const results = await client.publishAll(topic, [1, 2, 3], (n) => {
    if (n === 2) throw new TypeError('no options for 2');
    return n === 3 ? { timeoutMs: -1 } : {};
  });
  expect(results).toMatchObject([
    { ok: true },
    { ok: false, error: { code: 'invalid-message', outcome: 'not-sent', retryable: false } },
    { ok: false, error: { code: 'invalid-message', outcome: 'not-sent', retryable: false } },
  ]);
  await client.close();
});
