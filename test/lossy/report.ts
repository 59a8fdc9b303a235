/** The figures as plain lines, and the verdict. */

import type { Count } from './count.ts';

export interface Result {
  readonly name: string;
  readonly title: string;
  readonly safe: boolean;
  readonly version: string;
  readonly count: Count;
  readonly says: string;
}

export type Verdict = 'green' | 'red' | 'inconclusive';
export const exitCodes: Readonly<Record<Verdict, number>> = { green: 0, red: 1, inconclusive: 3 };

export function lineOf({ name, title, safe, version, count }: Result): string {
  const { rounds, accepted, notSent, unknown, lost, phantom, doubled, windowsMs, cutOff } = count;
  const losing = lost === 0 ? '' : ` (${(lost / rounds).toFixed(1)} per failure, by ${windowsMs.length} of them)`;
  const window = windowsMs.length === 0 ? 'none' : `up to ${Math.round(Math.max(...windowsMs))} ms`;
  const cut = cutOff === 0 ? '' : `, ${cutOff} lines of the ledger cut off`;
  return (
    `${name} ${safe ? 'SAFE ' : 'LOSSY'} ${title} (${version}): ${rounds} failures, accepted ${accepted}, LOST ${lost}${losing}, ` +
    `window ${window}, phantom ${phantom}, doubled ${doubled}, not_sent ${notSent}, unknown ${unknown}${cut}`
  );
}

export const saysLineOf = ({ name, says }: Result): string => `${name} holdfast says: ${says}`;

/** Red before inconclusive: what was lost is lost, whatever else could not be shown. */
export function verdictOf(results: readonly Result[]): { readonly verdict: Verdict; readonly why: readonly string[] } {
  const red = results
    .filter(({ safe, count }) => safe && (count.lost > 0 || count.phantom > 0))
    .map(({ name, title, count }) => `${name}: ${title} lost ${count.lost} and has ${count.phantom} phantoms`);
  const vacuous = results
    .filter(({ safe, count }) => !safe && count.lost === 0)
    .map(({ name, title }) => `${name}: ${title} lost nothing, so its safe twin proves nothing`);
  const idle = results
    .filter(({ count }) => count.rounds === 0 || count.accepted === 0 || count.cutOff > 0)
    .map(({ name, title }) => `${name}: ${title}: nothing was accepted, or the ledger is cut off`);
  if (red.length > 0) return { verdict: 'red', why: red };
  const why = [...vacuous, ...idle];
  return { verdict: why.length > 0 || results.length === 0 ? 'inconclusive' : 'green', why };
}
