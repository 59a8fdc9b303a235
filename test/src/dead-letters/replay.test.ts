import { afterEach, describe, expect, it } from 'vitest';
import { memoryBroker } from '../../../adapters/memory/broker.ts';
import { memory } from '../../../adapters/memory/index.ts';
import { DeadLetter, defineTopic } from '../../../src/index.ts';
import type { BrokerAdapter } from '../../../src/port.ts';
import { type Bench, bench, idsOf, until, withStore } from './fixture.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const open: Bench[] = [];
async function begin(adapter?: BrokerAdapter): Promise<Bench> {
  const made = await bench(topic, adapter);
  open.push(made);
  return made;
}
afterEach(async () => {
  for (const { client } of open.splice(0)) await client.close({ drainMs: 0 });
});
const fails = (): never => {
  throw new DeadLetter('bad again');
};

describe('a run of a replay', () => {
  it('that is gone on with replays nothing twice, however often its letters come back', async () => {
    const { letters, bury, handle } = await begin();
    await bury([0, 1, 2, 3, 4]);
    const messages = await handle(fails);
    const startedAt = new Date();
    const abort = new AbortController();
    const first = letters.replay({ startedAt, ratePerSecond: 200, signal: abort.signal });
    await until(() => messages.length >= 2);
    abort.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    const before = messages.length;
    expect(await letters.replay({ startedAt })).toEqual({ replayed: 5 - before, startedAt });
    await until(async () => (await letters.count({ where: { reason: 'bad again' } })) === 5);
    for (let again = 0; again < 3; again += 1)
      expect(await letters.replay({ startedAt })).toEqual({ replayed: 0, startedAt });
    expect(messages.map(({ id }) => id).sort()).toEqual(['m-0', 'm-1', 'm-2', 'm-3', 'm-4']);
    // A new run has them again.
    expect(await letters.replay()).toEqual({ replayed: 5 });
  });

  it('knows what it has replayed also where clocks disagree', async () => {
    const { letters, bury, handle } = await begin();
    await bury([0, 1]);
    const messages = await handle(fails);
    const startedAt = new Date(Date.now() + 3_600_000);
    expect(await letters.replay({ startedAt })).toMatchObject({ replayed: 2 });
    await until(async () => (await letters.count({ where: { reason: 'bad again' } })) === 2);
    expect(await letters.replay({ startedAt })).toMatchObject({ replayed: 0 });
    expect(messages).toHaveLength(2);
  });

  it('is remembered through retries, by immediate ones and delays', async () => {
    const { client, letters, bury } = await begin();
    await bury([0]);
    let calls = 0;
    const retry = { immediate: { retries: 1, firstMs: 1 }, delays: [5, 5] };
    await client.consume(topic, { group: 'g', retry }, () => {
      calls += 1;
      throw new Error('fails');
    });
    const startedAt = new Date();
    await letters.replay({ startedAt });
    await until(async () => (await letters.count({ where: { reason: 'failed' } })) === 1);
    expect(calls).toBe(6);
    expect(await letters.replay({ startedAt })).toMatchObject({ replayed: 0 });
  });

  it('leaves what died after it began', async () => {
    const { letters, bury } = await begin();
    await bury([0]);
    await new Promise((resolve) => setTimeout(resolve, 3));
    const startedAt = new Date();
    await new Promise((resolve) => setTimeout(resolve, 3));
    await bury([1]);
    expect(await letters.replay({ startedAt, dryRun: true })).toEqual({ replayed: 1, startedAt });
    expect(await letters.replay({ startedAt })).toEqual({ replayed: 1, startedAt });
    expect(await idsOf(letters.list())).toEqual(['m-1']);
  });

  it('says what may have been sent, leaves it among the letters and does not try it again by itself', async () => {
    const tried: string[] = [];
    const adapter = withStore((honest) => ({
      async replay(list, marks) {
        tried.push(...list.map(({ message }) => message.id!));
        const [doubtful, ...others] = list;
        return [...(doubtful === undefined ? [] : ['unknown' as const]), ...(await honest.replay(others, marks))];
      },
    }));
    const { letters, bury } = await begin(adapter);
    await bury([0, 1, 2]);
    expect(await letters.replay()).toEqual({ replayed: 2, unknown: 1 });
    expect(tried).toEqual(['m-0', 'm-1', 'm-2']);
    expect(await idsOf(letters.list())).toEqual(['m-0']);
  });

  it('of two operators at once gives each letter to one of them', async () => {
    const broker = memoryBroker();
    const [one, two] = [await begin(memory({ broker })), await begin(memory({ broker }))];
    await one.bury(Array.from({ length: 30 }, (_, n) => n));
    const messages = await one.handle();
    const results = await Promise.all([one, two].map(({ letters }) => letters.replay({ ratePerSecond: 2_000 })));
    expect(results.reduce((sum, { replayed }) => sum + replayed, 0)).toBe(30);
    await until(() => messages.length >= 30);
    expect(new Set(messages.map(({ id }) => id)).size).toBe(30);
    expect(messages).toHaveLength(30);
  });
});
