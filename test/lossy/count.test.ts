import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Outcome, openLedger, readLedgers } from '../chaos/ledger-file.ts';
import { type Count, countRounds } from './count.ts';
import { lineOf, type Result, verdictOf } from './report.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A ledger of one topic, `t`, whose ids end so, in this order. */
function ledgerOf(outcomes: Readonly<Record<string, Outcome | undefined>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-lossy-'));
  folders.push(folder);
  const ledger = openLedger(folder, 't');
  for (const [id, outcome] of Object.entries(outcomes)) {
    ledger.write({ e: 'begin', id, n: 1, route: 'direct', topic: 't', key: '', seq: 0 });
    if (outcome !== undefined) ledger.write({ e: 'end', id, n: 1, outcome });
  }
  ledger.close();
  return folder;
}

/** When each id was confirmed, by the ledger itself. */
async function endsIn(folder: string): Promise<ReadonlyMap<string, number>> {
  const ends = new Map<string, number>();
  for await (const line of readLedgers(folder, () => undefined)) if (line.e === 'end') ends.set(line.id, line.at);
  return ends;
}

const count = (folder: string, found: readonly string[], killedAt: number = 0): Promise<Count> =>
  countRounds(folder, [{ topic: 't', killedAt, found }]);

describe('the count of what a setting loses', () => {
  it('finds nothing where all that was accepted is there', async () => {
    expect(await count(ledgerOf({ a: 'ok', b: 'ok' }), ['b', 'a'])).toEqual({
      rounds: 1,
      accepted: 2,
      notSent: 0,
      unknown: 0,
      lost: 0,
      phantom: 0,
      doubled: 0,
      windowsMs: [],
      cutOff: 0,
    });
  });

  it('counts one loss, and its window from the last confirm that survived before it to the kill', async () => {
    const folder = ledgerOf({ a: 'ok', b: 'ok', c: 'ok', d: 'ok' });
    const ends = await endsIn(folder);
    const counted = await count(folder, ['a', 'b', 'd'], ends.get('b')! + 500);
    expect(counted).toMatchObject({ accepted: 4, lost: 1, phantom: 0, doubled: 0 });
    expect(counted.windowsMs).toHaveLength(1);
    expect(counted.windowsMs[0]).toBeCloseTo(500, 1);
  });

  it('counts from the first confirm where nothing survived', async () => {
    const folder = ledgerOf({ a: 'ok', b: 'ok' });
    const { windowsMs, lost } = await count(folder, [], (await endsIn(folder)).get('a')! + 700);
    expect(lost).toBe(2);
    expect(windowsMs[0]).toBeCloseTo(700, 1);
  });

  it('takes nothing for lost that was not accepted, and what came all the same for no phantom if it may', async () => {
    const folder = ledgerOf({ a: 'unknown', b: 'unknown', c: undefined, d: 'not-sent' });
    expect(await count(folder, ['a'])).toMatchObject({ accepted: 0, lost: 0, unknown: 3, notSent: 1, phantom: 0 });
  });

  it('counts what nobody sent, or what was reported as not sent, as phantom, and repeats once each', async () => {
    const folder = ledgerOf({ a: 'ok', b: 'not-sent' });
    expect(await count(folder, ['a', 'a', 'a', 'b', 'x'])).toMatchObject({ phantom: 2, doubled: 1, lost: 0 });
  });

  it('adds up rounds, each by its own topic', async () => {
    const folder = ledgerOf({ a: 'ok' });
    const ledger = openLedger(folder, 'u');
    for (const id of ['b', 'c']) {
      ledger.write({ e: 'begin', id, n: 1, route: 'direct', topic: 'u', key: '', seq: 0 });
      ledger.write({ e: 'end', id, n: 1, outcome: 'ok' });
    }
    ledger.close();
    const counted = await countRounds(folder, [
      { topic: 't', killedAt: 0, found: ['a'] },
      { topic: 'u', killedAt: 0, found: ['a', 'c'] },
    ]);
    expect(counted).toMatchObject({ rounds: 2, accepted: 3, lost: 1, phantom: 1 });
    expect(counted.windowsMs).toHaveLength(1);
  });

  it('says that a ledger is cut off', async () => {
    const folder = ledgerOf({ a: 'ok' });
    appendFileSync(join(folder, 't.jsonl'), '{"e":"end","id":"b"');
    expect(await count(folder, ['a'])).toMatchObject({ accepted: 1, cutOff: 1 });
  });
});

describe('the verdict', () => {
  const nothing: Count = {
    rounds: 5,
    accepted: 100,
    notSent: 0,
    unknown: 0,
    lost: 0,
    phantom: 0,
    doubled: 0,
    windowsMs: [],
    cutOff: 0,
  };
  const result = (safe: boolean, counted: Partial<Count>): Result => ({
    name: 'redis-no-aof',
    title: safe ? 'appendfsync always' : 'appendonly no',
    safe,
    version: '8',
    count: { ...nothing, ...counted },
    says: '',
  });
  const lossy = result(false, { lost: 10, windowsMs: [12.4, 80.6] });
  const verdict = (...results: readonly Result[]): string => verdictOf(results).verdict;

  it('is green where the setting lost and its twin did not', () => {
    expect(verdict(lossy, result(true, {}))).toBe('green');
  });

  it('is red where a safe twin lost, or has what nobody sent, whatever else there is', () => {
    expect(verdict(lossy, result(true, { lost: 1 }))).toBe('red');
    expect(verdict(lossy, result(true, { phantom: 1 }))).toBe('red');
    expect(verdict(result(false, {}), result(true, { lost: 1 }))).toBe('red');
  });

  it('is inconclusive where a setting that is known to lose did not, or where nothing happened', () => {
    expect(verdictOf([result(false, {}), result(true, {})])).toEqual({
      verdict: 'inconclusive',
      why: ['redis-no-aof: appendonly no lost nothing, so its safe twin proves nothing'],
    });
    expect(verdict(lossy, result(true, { accepted: 0 }))).toBe('inconclusive');
    expect(verdict(lossy, result(true, { cutOff: 1 }))).toBe('inconclusive');
    expect(verdict()).toBe('inconclusive');
  });

  it('prints what was accepted, lost, lost per failure, and the longest window', () => {
    expect(lineOf(lossy)).toContain('accepted 100, LOST 10 (2.0 per failure, by 2 of them), window up to 81 ms');
    expect(lineOf(result(true, {}))).toContain('LOST 0, window none');
  });
});
