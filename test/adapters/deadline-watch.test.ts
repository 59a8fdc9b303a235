import { expect, it } from 'vitest';
import { memory } from '../../adapters/memory/index.ts';
import { connect } from '../../src/connect.ts';
import { defineTopic } from '../../src/topic.ts';
import { deadlineWatch } from '../conformance/deadline-watch.ts';
import { until } from '../conformance/until.ts';

const topic = defineTopic<string>('watched', { groups: ['g'] });

it('the traps’ watch finds a publish that has no outcome a second after its deadline, and no other', async () => {
  const { watch, late, end } = deadlineWatch();
  await using client = await connect({ adapter: memory() });
  const { publish } = client;
  watch(Object.assign(client, { publish: () => new Promise(() => undefined) }));
  void client.publish(topic, 'hangs', { id: 'hangs', timeoutMs: 50 });
  watch(Object.assign(client, { publish }));
  await client.publish(topic, 'is confirmed', { timeoutMs: 50 });
  await until('it is found', () => late.length > 0);
  expect(late).toEqual([expect.stringMatching(/^publish of hangs: \d+ ms, with a deadline of 50 ms$/)]);
  end();
});

it('the traps’ watch blames no publish for the time that our own process did not get', async () => {
  const { watch, late, end } = deadlineWatch();
  await using client = await connect({ adapter: memory() });
  const { promise, resolve } = Promise.withResolvers<unknown>();
  watch(Object.assign(client, { publish: () => promise as Promise<never> }));
  const publishing = client.publish(topic, 'waits', { timeoutMs: 50 });
  for (const endAt = performance.now() + 1_500; performance.now() < endAt; );
  setTimeout(resolve, 100);
  await publishing;
  expect(late).toEqual([]);
  end();
});
