import { expect, it } from 'vitest';
import { connectConfig } from '../../src/connect.ts';
import { defineConfig, defineTopic } from '../../src/index.ts';
import { until, watchedStore, weatherAdapter } from './publish/spill-fixture.ts';

const numbers = defineTopic<number>('numbers', { groups: ['g'] });

it("S16: an environment's spill is made when the environment is chosen, and its store closed with the client", async () => {
  const { adapter, weather } = weatherAdapter();
  const made: string[] = [];
  const { store } = await watchedStore();
  let closed = 0;
  const watched = {
    ...store,
    async close() {
      closed += 1;
      await store.close();
    },
  };
  const config = defineConfig({
    topics: [numbers],
    environments: {
      development: {
        adapter: () => adapter,
        spill: () => {
          made.push('development');
          return { store: watched, spillAfterMs: 30 };
        },
      },
      production: {
        adapter: 'amqp://localhost',
        spill: () => {
          made.push('production');
          return watched;
        },
      },
    },
  });
  expect(made).toEqual([]);
  const { client } = await connectConfig(config, { HOLDFAST_ENV: 'development' });
  expect(made).toEqual(['development']);
  weather.now = 'refused';
  expect(await client.publish(numbers, 1)).toMatchObject({ outcome: 'spilled' });
  weather.now = 'fine';
  await until('it is sent', async () => (await store.spill!.state()).rows === 0);
  expect(await client.close()).toMatchObject({ spilled: 0 });
  expect(closed).toBe(1);
});

it('S16: a store that was made for a client that cannot connect is closed', async () => {
  const { adapter } = weatherAdapter();
  const { store } = await watchedStore();
  let closed = 0;
  const config = defineConfig({
    topics: [],
    environments: {
      test: {
        adapter: () => ({ ...adapter, connect: () => Promise.reject(new Error('away')) }),
        spill: async () => ({
          ...store,
          async close() {
            closed += 1;
            await store.close();
          },
        }),
      },
    },
  });
  await expect(connectConfig(config, { HOLDFAST_ENV: 'test' })).rejects.toThrow('away');
  expect(closed).toBe(1);
});

it('defineConfig refuses a spill that is neither a store nor makes one', () => {
  const environments = { development: { adapter: 'memory:', spill: 'shop.db' as never } };
  expect(() => defineConfig({ topics: [], environments })).toThrow(/spill/);
});
