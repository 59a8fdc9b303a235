import { expect, it } from 'vitest';
import { connect, defineTopic, memoryHalts } from '../../../src/index.ts';
import { until, withStore } from './fixture.ts';

const topic = defineTopic<number>('jobs', { key: () => 'k', groups: { g: { order: 'key' } } });

it('S27: what stands among the letters and cannot be sent back is not missing: nothing is left out for it', async () => {
  // The broker does not say what became of what was sent back, and keeps the letters.
  const adapter = withStore(() => ({ replay: async (letters) => letters.map(() => 'unknown' as const) }));
  const client = await connect({ adapter });
  const halts = memoryHalts();
  const letters = client.deadLetters(topic, 'g');
  const retry = { immediate: { retries: 0 }, delays: [] };
  await client.consume(topic, { group: 'g', retry, onExhausted: 'halt-key', halts }, () => {
    throw new Error('not now');
  });
  await client.publishAll(topic, [0, 1]);
  await until(async () => (await letters.count()) === 2);
  expect(await letters.release('k', { halts, patienceMs: 50, skipMissing: true })).toEqual({
    state: 'waiting',
    handled: 0,
    left: 2,
  });
  await client.close({ drainMs: 0 });
});
