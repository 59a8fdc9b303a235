import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Facts, judge } from './check.ts';
import type { Found } from './drain.ts';
import { type Line, now, openLedger } from './ledger-file.ts';
import { merge } from './merge.ts';
import { ACCOUNTS, checkOf, OPENING_BALANCE } from './topics.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const limits = { publishTimeoutMs: 1_000, maxAttempts: 3, callsPerDelivery: 1, late: [] };
const sums = Array.from({ length: ACCOUNTS }, (_, id) => ({ id, balance: OPENING_BALANCE }));
const nothing: Found = {
  business: [],
  effects: [],
  accounts: sums,
  letters: { pool: [], line: [], bank: [] },
  residue: new Map(),
};

const id = 'producer-1.0.1';
const sent = (seq: number, route: 'direct' | 'outbox' = 'direct'): Line[] => [
  { e: 'begin', id: `producer-1.0.${seq}`, n: 1, route, topic: 'chaos.items', key: 'producer-1.0', seq },
  { e: 'end', id: `producer-1.0.${seq}`, n: 1, outcome: 'ok' },
];
const given = (seq: number): Line[] =>
  (['pool', 'line'] as const).map((g) => ({ e: 'delivered', g, ids: [`producer-1.0.${seq}`] }));
const effect = (ord: number, seq: number, grp: 'pool' | 'line') =>
  ({ ord, id: `producer-1.0.${seq}`, grp, key: 'producer-1.0', seq, proc: 'consumer-1' }) as const;
const both = [effect(1, 1, 'pool'), effect(2, 1, 'line')];

/** Names of the violations in a run with these ledger lines and these findings. */
async function violations(lines: readonly Line[], found: Partial<Found> = {}): Promise<readonly string[]> {
  return namesOf(await factsOf(lines, found));
}
const namesOf = ({ violations }: Facts): readonly string[] =>
  [...violations].filter(([, { count }]) => count > 0).map(([name]) => name);

async function factsOf(lines: readonly Line[], found: Partial<Found> = {}, extra = ''): Promise<Facts> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-check-'));
  folders.push(folder);
  const ledger = openLedger(folder, 'producer-1');
  for (const line of lines) ledger.write(line);
  ledger.close();
  if (extra !== '') writeFileSync(join(folder, 'killed.jsonl'), extra);
  const evidence = await merge(folder, { ...nothing, ...found });
  const facts = judge(evidence, limits);
  evidence.db.close();
  return facts;
}

describe('the checker', () => {
  it('finds nothing where every message took effect once in each group', async () => {
    expect(await violations([...sent(1), ...given(1)], { effects: both })).toEqual([]);
  });

  it('sees a message that a group neither handled nor buried', async () => {
    expect(await violations([...sent(1), ...given(1)], { effects: [effect(1, 1, 'pool')] })).toEqual(['LOST']);
  });

  it('takes a committed business row for accepted, whatever the writer was told', async () => {
    const begun = sent(1, 'outbox').slice(0, 1);
    const business = [{ id, key: 'producer-1.0', seq: 1 }];
    expect(await violations(begun, { business })).toEqual(['LOST']);
  });

  it('sees what was delivered though nobody sent it, was rolled back, or has no business row', async () => {
    expect(await violations(given(1))).toEqual(['PHANTOM']);
    const rolledBack: Line[] = [sent(1, 'outbox')[0]!, { e: 'end', id, n: 1, outcome: 'rolled-back' }];
    expect(await violations([...rolledBack, ...given(1)])).toContain('PHANTOM');
    expect(await violations([...sent(1, 'outbox'), ...given(1)])).toContain('PHANTOM');
  });

  it('sees bytes that were changed, on their way or among the dead letters', async () => {
    const lines: Line[] = [...sent(1), ...given(1), { e: 'mismatch', g: 'pool', id }];
    expect(await violations(lines, { effects: both })).toEqual(['PHANTOM']);
    const letters = { ...nothing.letters, line: [{ id, reason: 'refused', attempts: 1, check: checkOf('another') }] };
    expect(await violations([...sent(1), ...given(1)], { effects: [effect(1, 1, 'pool')], letters })).toContain(
      'PHANTOM',
    );
  });

  it('sees a second effect', async () => {
    expect(await violations([...sent(1), ...given(1)], { effects: [...both, effect(3, 1, 'pool')] })).toEqual([
      'DOUBLE',
    ]);
  });

  it('sees a key whose first effects are out of order, and only in the ordered group', async () => {
    const lines = [...sent(1), ...sent(2), ...given(1), ...given(2)];
    const effects = [effect(1, 2, 'pool'), effect(2, 1, 'pool'), effect(3, 2, 'line'), effect(4, 1, 'line')];
    const facts = await factsOf(lines, { effects });
    expect(facts.violations.get('INVERTED')?.count).toBe(1);
  });

  it('sees a message both handled and dead, and one dead without a reason', async () => {
    const letters = { ...nothing.letters, line: [{ id, reason: 'failed', attempts: 3, check: checkOf(id) }] };
    expect(await violations([...sent(1), ...given(1)], { effects: both, letters })).toEqual(['BOTH', 'WRONGLY DEAD']);
  });

  it('sees a message that was reported as not sent, and came out', async () => {
    const lines: Line[] = [sent(1)[0]!, { e: 'end', id, n: 1, outcome: 'not-sent' }, ...given(1)];
    expect(await violations(lines)).toEqual(['FALSE FAILURE']);
  });

  it('sees a publish without an outcome, a process that ends or does not, a rejection, a residue, too many attempts', async () => {
    expect(await violations(sent(1).slice(0, 1))).toEqual(['STUCK']);
    expect(await violations([{ e: 'process', name: 'relay-1', how: 'exit code 1', expected: false }])).toEqual([
      'EXITS',
    ]);
    expect(await violations([{ e: 'rejection', text: 'Error: nobody caught this' }])).toEqual(['REJECTIONS']);
    expect(await violations([], { residue: new Map([['outbox', 1]]) })).toEqual(['RESIDUE']);
    expect(await violations([{ e: 'called', g: 'pool', id, attempt: 4 }])).toEqual(['ATTEMPTS']);
  });

  it('sees a message that is called again and again under small numbers, and lets a fault explain one more delivery', async () => {
    const called = (times: number): Line[] =>
      Array.from({ length: times }, () => ({ e: 'called', g: 'pool', id, attempt: 1 }));
    expect(await violations(called(3))).toEqual([]);
    expect(await violations(called(4))).toEqual(['ATTEMPTS']);
    const begin = now();
    const fault = (lastsMs: number): Line => ({
      e: 'fault',
      kind: 'pause',
      target: 'broker',
      name: 'broker',
      begin,
      up: begin + lastsMs,
      hit: true,
    });
    expect(await violations([...called(4), fault(1)])).toEqual([]);
    expect(await violations([...called(5), fault(1)])).toEqual(['ATTEMPTS']);
    expect(await violations([...called(6), fault(10_001)])).toEqual([]);
    expect(await violations([...called(7), fault(10_001)])).toEqual(['ATTEMPTS']);
  });

  it('sees money made or lost, in a snapshot or in the end', async () => {
    expect(await violations([{ e: 'balance', sum: ACCOUNTS * OPENING_BALANCE - 1 }])).toEqual(['BANK']);
    expect(await violations([], { accounts: sums.map((one) => ({ ...one, balance: one.balance + 1 })) })).toEqual([
      'BANK',
    ]);
  });

  it('reads on after a line that a kill cut off', async () => {
    const facts = await factsOf([...sent(1), ...given(1)], { effects: both }, '{"e":"begin","id":"prod');
    expect(facts.cutOff).toBe(1);
    expect(namesOf(facts)).toEqual([]);
  });
});
