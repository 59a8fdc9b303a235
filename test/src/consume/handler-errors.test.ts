import { expect, it } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { connect, defineTopic, memoryDedupe } from '../../../src/index.ts';
import { gate } from '../fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const twice = { immediate: { retries: 1, firstMs: 0 }, delays: [] } as const;

it('a classify that throws is a retry, and an error event', async () => {
  const client = await connect({ adapter: memory() });
  const errors: string[] = [];
  client.on('error', ({ during }) => errors.push(during));
  const dead = new Promise((resolve) => client.on('dead-lettered', resolve));
  const classify = (): never => {
    throw new TypeError('error.response is undefined');
  };
  await client.consume(topic, { group: 'g', retry: twice, classify }, () => {
    throw new Error('no');
  });
  await client.publish(topic, 1);
  expect(await dead).toMatchObject({ reason: 'failed', attempts: 2 });
  expect(errors).toEqual(['classify an error of group "g"']);
  await client.close();
});

it.each([
  ['an object without a prototype', Object.create(null)],
  ['an error whose message is an object', Object.assign(new Error(''), { message: { code: 5 } })],
  ['nothing', undefined],
])('whatever a handler throws, even %s, ends in a dead letter', async (_, thrown) => {
  const client = await connect({ adapter: memory() });
  const dead = new Promise((resolve) => client.on('dead-lettered', resolve));
  await client.consume(topic, { group: 'g', retry: twice }, () => {
    throw thrown;
  });
  await client.publish(topic, 1);
  expect(await dead).toMatchObject({ reason: 'failed', attempts: 2 });
  await client.close();
});

it('failed is told once for each attempt', async () => {
  const client = await connect({ adapter: memory() });
  const failed: unknown[] = [];
  client.on('failed', ({ attempt, next }) => failed.push([attempt, next]));
  const dead = new Promise((resolve) => client.on('dead-lettered', resolve));
  await client.consume(topic, { group: 'g', retry: twice }, () => {
    throw new Error('no');
  });
  await client.publish(topic, 1);
  await dead;
  expect(failed).toEqual([
    [1, 'retry'],
    [2, 'dead-letter'],
  ]);
  await client.close();
});

it('with dedupe, what was handled while its connection broke is known when it comes again', async () => {
  const adapter = memory();
  const client = await connect({ adapter });
  const started = gate();
  const finish = gate();
  let calls = 0;
  const duplicate = new Promise((resolve) => client.on('duplicate', resolve));
  await client.consume(topic, { group: 'g', dedupe: memoryDedupe(), concurrency: 1 }, async () => {
    calls += 1;
    started.open();
    await finish.opened;
  });
  await client.publish(topic, 1);
  await started.opened;
  adapter.disconnect();
  finish.open();
  await duplicate;
  expect(calls).toBe(1);
  await client.close();
});
