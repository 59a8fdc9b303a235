import { expect, it } from 'vitest';
import { memory, memoryBroker } from '../../adapters/memory/index.ts';
import { connectConfig } from '../../src/connect.ts';
import { defineConfig, defineTopic } from '../../src/index.ts';
import { fakeAdapter } from './fake-adapter.ts';

it("connect(config) declares the config's topics: their groups wait for their consumers from then on", async () => {
  const broker = memoryBroker();
  const publishers = defineTopic<number>('numbers');
  const topics = [defineTopic<number>('numbers', { groups: ['late'] })];
  const config = defineConfig({ topics, environments: { test: { adapter: () => memory({ broker }) } } });
  const { client } = await connectConfig(config, { HOLDFAST_ENV: 'test' });
  await client.publish(publishers, 1);
  expect(await client.backlog(topics[0]!, 'late')).toMatchObject({ ready: 1 });
  await client.close();
});

it('a client whose topics cannot be declared is closed, and the error is the declaration’s', async () => {
  let closed = 0;
  const adapter = fakeAdapter({
    declare: () => Promise.reject(Object.assign(new Error('another order'), { adapterCode: 'topology-conflict' })),
    async close() {
      closed += 1;
    },
  });
  const topics = [defineTopic<number>('numbers')];
  const config = defineConfig({ topics, environments: { test: { adapter: () => adapter } } });
  await expect(connectConfig(config, { HOLDFAST_ENV: 'test' })).rejects.toMatchObject({ code: 'topology-conflict' });
  expect(closed).toBe(1);
});
