import { expect, it } from 'vitest';
import { memory, memoryBroker } from '../../adapters/memory/index.ts';
import { connectConfig } from '../../src/connect.ts';
import { defineConfig, defineTopic } from '../../src/index.ts';

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
