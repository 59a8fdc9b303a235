import { afterEach, describe, expect, it } from 'vitest';
import { defineTopic, type LetterWhere } from '../../../src/index.ts';
import type { StoredLetter } from '../../../src/port.ts';
import { all, type Bench, bench, idsOf, withStore } from './fixture.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const open: Bench[] = [];
const begin = async (...more: Parameters<typeof bench> extends [unknown, ...infer R] ? R : never): Promise<Bench> => {
  const made = await bench(topic, ...more);
  open.push(made);
  return made;
};
afterEach(async () => {
  for (const { client } of open.splice(0)) await client.close();
});
const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

describe('a letter', () => {
  it('names its topic and group, and when it failed first and last', async () => {
    const { letters, bury } = await begin();
    const before = Date.now();
    await bury([1]);
    const [letter] = await all(letters.list());
    expect(letter).toMatchObject({ id: 'm-1', topic: 'numbers', group: 'g', key: 'k-1', reason: 'bad' });
    for (const time of [letter!.firstFailedAt!, letter!.lastFailedAt!, letter!.deadAt]) {
      expect(time.getTime()).toBeGreaterThanOrEqual(before);
      expect(time.getTime()).toBeLessThanOrEqual(Date.now());
    }
  });
});

describe('a filter', () => {
  it('takes what meets all that it names', async () => {
    const { letters, bury } = await begin();
    await bury([0, 1], 'early');
    await new Promise((resolve) => setTimeout(resolve, 5));
    const between = new Date();
    await bury([2, 3], 'late');
    const fingerprint = (await all(letters.list()))[0]!.fingerprint!;
    const cases: readonly [LetterWhere, string[]][] = [
      [{ reason: 'early' }, ['m-0', 'm-1']],
      [{ ids: ['m-1', 'm-2', 'm-9'] }, ['m-1', 'm-2']],
      [{ key: 'k-3' }, ['m-3']],
      [{ since: between }, ['m-2', 'm-3']],
      [{ before: between }, ['m-0', 'm-1']],
      [{ fingerprint }, ['m-0', 'm-1', 'm-2', 'm-3']],
      [{ fingerprint: 'no-such' }, []],
      [{ minAttempts: 1 }, ['m-0', 'm-1', 'm-2', 'm-3']],
      [{ minAttempts: 2 }, []],
      [{ since: between, key: 'k-0' }, []],
      [{}, ['m-0', 'm-1', 'm-2', 'm-3']],
    ];
    for (const [where, ids] of cases) {
      expect(await idsOf(letters.list({ where })), JSON.stringify(where)).toEqual(ids);
      expect(await letters.count({ where })).toBe(ids.length);
    }
  });

  it('that is wrong says what, and nothing is touched', async () => {
    const { letters, bury } = await begin();
    await bury([1]);
    const wrong = (where: object) => letters.discard({ where } as never);
    await expect(wrong({ reson: 'bad' })).rejects.toThrow('did you mean "reason"');
    await expect(wrong({ since: '2026-01-01' })).rejects.toThrow('"since" must be a valid Date');
    await expect(wrong({ before: new Date(Number.NaN) })).rejects.toThrow('"before" must be a valid Date');
    await expect(wrong({ minAttempts: -1 })).rejects.toThrow('"minAttempts"');
    await expect(all(letters.list({ limit: 0 }))).rejects.toThrow('"limit"');
    await expect(all(letters.list({ after: '' }))).rejects.toThrow('"after"');
    expect(await letters.count()).toBe(1);
  });

  it('of which every value happens to be undefined discards nothing', async () => {
    const { letters, bury } = await begin();
    await bury([1]);
    for (const filter of [{}, { where: {} }, { where: { reason: undefined, ids: undefined } }])
      await expect(letters.discard(filter as never)).rejects.toThrow('discard needs a filter');
    expect(await letters.count()).toBe(1);
  });
});

describe('counting', () => {
  it('by reason, fingerprint, key and host', async () => {
    const { letters, bury } = await begin();
    await bury([0, 1], 'early');
    await bury([2], '__proto__');
    const byReason = await letters.countBy('reason');
    expect(Object.entries(byReason).sort()).toEqual([
      ['__proto__', 1],
      ['early', 2],
    ]);
    expect(await letters.countBy('key', { where: { reason: 'early' } })).toEqual({ 'k-0': 1, 'k-1': 1 });
    expect(Object.values(await letters.countBy('fingerprint'))).toEqual([3]);
    expect(Object.values(await letters.countBy('host'))).toEqual([3]);
    await expect(letters.countBy('body' as never)).rejects.toThrow("countBy must be one of 'reason'");
  });
});

/** The letters of each page in any order, as a broker has them that keeps none. */
const shuffled = () =>
  withStore((honest) => ({
    sorted: false,
    async *scan(options) {
      const found: StoredLetter[] = [];
      for await (const page of honest.scan({ ...options, after: undefined })) found.push(...page);
      yield found.toSorted((a, b) => (a.letterId.at(-1)! < b.letterId.at(-1)! ? 1 : -1));
    },
  }));

describe.each([
  ['a broker that sorts', () => undefined],
  ['a broker that only scans', shuffled],
])('pages on %s', (_, adapter) => {
  it('hold each letter once, in order, also over clients', async () => {
    const { letters, bury } = await begin(adapter());
    await bury(upTo(25));
    const seen: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await all(letters.list({ limit: 4, ...(after !== undefined && { after }) }));
      seen.push(...page.map(({ id }) => id));
      if (page.length < 4) break;
      after = page.at(-1)!.cursor;
    }
    expect(seen).toEqual(upTo(25).map((n) => `m-${n}`));
  });

  it('miss none and repeat none of those that stay, while others come and go', async () => {
    const { letters, bury } = await begin(adapter());
    await bury(upTo(12));
    const seen: string[] = [];
    let next = 12;
    for (let after: string | undefined; ; ) {
      const page = await idsOf(letters.list({ limit: 3, ...(after !== undefined && { after }) }));
      if (page.length === 0) break;
      const last = (await all(letters.list({ limit: 3, ...(after !== undefined && { after }) }))).at(-1)!;
      after = last.cursor;
      seen.push(...page);
      // The one that the cursor names goes too, and every page sees two new ones come.
      await letters.discard({ where: { ids: [page[0]!, last.id] } });
      if (next < 16) await bury([next++, next++]);
    }
    expect(seen).toEqual(upTo(16).map((n) => `m-${n}`));
  });
});
