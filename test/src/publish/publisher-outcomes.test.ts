import { expect, it } from 'vitest';
import { connect, defineTopic } from '../../../src/index.ts';
import type { PublishOutcome } from '../../../src/port.ts';
import { fakeAdapter, gate } from '../fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const lost: PublishOutcome = { kind: 'unknown', error: new Error('the connection broke') };

it('a confirm reaches its publish, however many waiters for room have given up meanwhile', async () => {
  const first = gate<readonly PublishOutcome[]>();
  const client = await connect({ adapter: fakeAdapter({ publish: () => first.opened }), buffer: { messages: 1 } });
  const confirmed = client.publish(topic, 0);
  const leave = new AbortController();
  const waiters = Array.from({ length: 30_000 }, (_, n) => client.publish(topic, n, { signal: leave.signal }));
  const results = Promise.allSettled(waiters);
  // Declaring the topic takes a few turns: the first one must be on its way before the others leave.
  await new Promise((resolve) => setImmediate(resolve));
  leave.abort(new Error('enough'));
  expect(new Set((await results).map(({ status }) => status))).toEqual(new Set(['rejected']));
  first.open([{ kind: 'confirmed' }]);
  await expect(confirmed).resolves.toMatchObject({ outcome: 'confirmed' });
  await client.close();
});

it.each([
  ['publish-rejected', { kind: 'rejected', error: new Error('no') }],
  ['unroutable', { kind: 'unroutable' }],
] as const)('%s after an attempt that may have stored the message is unknown, not unsent', async (code, last) => {
  const outcomes: PublishOutcome[] = [lost, last];
  const client = await connect({ adapter: fakeAdapter({ publish: async () => [outcomes.shift()!] }) });
  await expect(client.publish(topic, 1)).rejects.toMatchObject({ code, outcome: 'unknown' });
  await client.close();
});

it('published counts what was confirmed, also at the second attempt, and nothing else', async () => {
  const answers: PublishOutcome[][] = [[lost, { kind: 'unroutable' }], [{ kind: 'confirmed' }]];
  const client = await connect({ adapter: fakeAdapter({ publish: async () => answers.shift()! }) });
  const published = new Promise((resolve) => client.on('published', resolve));
  await client.publishAll(topic, [1, 2]);
  expect(await published).toMatchObject({ confirmed: 1, failed: 1 });
  await client.close();
});
