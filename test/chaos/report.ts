/** The figures as plain lines, and the verdict. */

import { availableParallelism } from 'node:os';
import type { Arguments } from './args.ts';
import type { Facts } from './check.ts';

export type Verdict = 'green' | 'red' | 'inconclusive';
export const exitCodes: Readonly<Record<Verdict, number>> = { green: 0, red: 1, inconclusive: 3 };

/** Per minute of faults. */
const LEAST_ACCEPTED = 500;

export interface Run extends Arguments {
  readonly commit: string;
  readonly version: string;
  readonly planned: number;
  readonly seconds: number;
  readonly drainSeconds: number;
}

const HEADLINES = ['LOST', 'PHANTOM', 'DOUBLE', 'INVERTED', 'STUCK'];

export function linesOf(facts: Facts, run: Run): readonly string[] {
  const { violations, faults, recovery, residue } = facts;
  const count = (name: string): number => violations.get(name)?.count ?? 0;
  const struck = faults.reduce((sum, { times, missed }) => sum + times - missed, 0);
  const kills = faults.reduce(
    (sum, { what, times, missed }) => sum + (what.startsWith('kill') ? times - missed : 0),
    0,
  );
  return [
    `seed ${run.seed}, commit ${run.commit}, ${run.broker} ${run.version}, ${run.minutes} min of faults, ${run.seconds} s in all, drained in ${run.drainSeconds} s, ${availableParallelism()} cores`,
    `attempted ${facts.attempted} accepted ${facts.accepted} not_sent ${facts.notSent} unknown ${facts.unknown} recovered ${facts.recovered} rolled_back ${facts.rolledBack} | handled ${facts.handled} dead ${facts.dead} | ${HEADLINES.map((name) => `${name} ${count(name)}`).join(' ')}`,
    `${[...violations.keys()]
      .filter((name) => !HEADLINES.includes(name))
      .map((name) => `${name.toLowerCase()} ${count(name)}`)
      .join(', ')}`,
    `messages delivered more than once ${facts.duplicates}, refused by the inbox ${facts.refused}; overlapping calls ${facts.overlapping}; highest attempt ${facts.maxAttempts}; snapshots of the bank ${facts.snapshots}; ledger lines cut off by a kill ${facts.cutOff}`,
    `faults ${struck} of ${run.planned}: ${faults.map(({ what, times, missed }) => `${what} ${times - missed}`).join(', ')}; kills ${kills}`,
    ...recovery.map(
      ({ what, times, p50, p99, max }) => `recovery after ${what}: p50 ${p50} p99 ${p99} max ${max} ms (${times})`,
    ),
    `publish p50 ${facts.publishMs.p50} p99 ${facts.publishMs.p99} ms; largest process ${facts.rssMb} MiB; residue ${residue.length === 0 ? 'none' : residue.map(({ name, count }) => `${name} ${count}`).join(', ')}`,
    `rule of three: no loss in ${struck} faults is less than ${struck === 0 ? '-' : `${Math.min(100, 300 / struck).toFixed(1)} %`} per fault, in ${kills} kills less than ${kills === 0 ? '-' : `${Math.min(100, 300 / kills).toFixed(1)} %`} per kill, at 95 % if they are independent`,
    ...[...violations].flatMap(([name, { examples }]) => examples.map((example) => `  ${name}: ${example}`)),
  ];
}

/** A run in which too little happened proves nothing, whatever it shows. */
export function verdictOf(
  facts: Facts,
  run: Run,
  drained: boolean,
): { readonly verdict: Verdict; readonly why: readonly string[] } {
  const red = [...facts.violations].filter(([, { count }]) => count > 0).map(([name, { count }]) => `${name} ${count}`);
  if (!drained) red.push('did not come to rest');
  if (red.length > 0) return { verdict: 'red', why: red };
  const struck = facts.faults.reduce((sum, { times, missed }) => sum + times - missed, 0);
  const missed = facts.faults.filter((fault) => fault.missed > 0).map((fault) => `${fault.what} hit nothing`);
  const idle: readonly (readonly [boolean, string])[] = [
    [
      facts.accepted < LEAST_ACCEPTED * run.minutes,
      `accepted ${facts.accepted}, fewer than ${LEAST_ACCEPTED} a minute`,
    ],
    [struck < run.planned, `${run.planned - struck} of ${run.planned} faults hit nothing (${missed.join(', ')})`],
    [facts.duplicates === 0, 'nothing was delivered twice'],
    [facts.dead === 0, 'nothing was dead-lettered'],
    [facts.snapshots === 0, 'no snapshot of the bank was taken'],
  ];
  const why = idle.filter(([is]) => is).map(([, text]) => text);
  return why.length > 0 ? { verdict: 'inconclusive', why } : { verdict: 'green', why: [] };
}
