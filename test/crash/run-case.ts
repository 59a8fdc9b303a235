/** One case: a process that dies at its point, another that goes on, and the count. */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrokerName, Case, HandlerName, Life, Route, StoreName } from './case.ts';
import { type Count, checkCase } from './check.ts';
import { readLedgers } from './ledger.ts';
import { COUNT } from './messages.ts';
import type { Point } from './points.ts';
import type { End, Pool } from './pool.ts';
import { dropStores } from './stores.ts';

export interface Planned {
  readonly point: Point;
  readonly broker: BrokerName;
  readonly url: string;
  readonly route: Route;
  readonly store: StoreName;
  readonly storeUrl: string;
  readonly handler: HandlerName;
  readonly nth: number;
}
export interface Result {
  readonly planned: Planned;
  readonly count: Count;
  /** What is wrong; empty is green. */
  readonly problems: readonly string[];
  readonly ms: number;
}

export async function runCase(planned: Planned, pool: Pool, patienceMs: number): Promise<Result> {
  const { point, nth, ...ways } = planned;
  const began = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-crash-'));
  const workload = point.workload ?? 'main';
  const what: Case = {
    ...ways,
    url: planned.url || join(folder, 'broker.db'),
    workload,
    topic: `crash-${randomBytes(6).toString('hex')}`,
    folder,
    death: { point: point.name, nth },
    before: point.before,
  };
  const problems: string[] = [];
  const dies = async (life: Life): Promise<boolean> => {
    const end = await pool.live({ what, life }, patienceMs);
    const told = readLedgers(folder, [life]).some(({ event }) => event === 'killed');
    if (end.end === 'killed' && told) return true;
    problems.push(end.end === 'done' ? `${life}: not reached` : `${life}: not reached, ${wordsOf(end)}`);
    return false;
  };
  const dead = (what.before === undefined || (await dies('forerunner'))) && (await dies('victim'));
  if (dead) {
    const end = await pool.live({ what, life: 'survivor' }, patienceMs);
    if (end.end !== 'done') problems.push(`survivor: ${wordsOf(end)}`);
  }
  const count = await checkCase(what);
  if (dead) problems.push(...wrongOf(count));
  if (problems.length === 0) {
    await dropStores(what);
    rmSync(folder, { recursive: true, force: true });
  } else problems.push(`its ledgers: ${folder}`);
  return { planned, count, problems, ms: performance.now() - began };
}

function wordsOf(end: End): string {
  if (end.end === 'stuck') return `stuck: ${end.doing}`;
  return end.end === 'error' ? end.error : `ended: ${end.end}`;
}

function wrongOf(count: Count): readonly string[] {
  const { accepted, lost, phantom, doubled, inverted, handledAndDead } = count;
  const found = Object.entries({ lost, phantom, doubled, inverted, 'handled and dead': handledAndDead });
  return [
    ...(accepted === COUNT ? [] : [`only ${accepted} of ${COUNT} accepted`]),
    ...found.filter(([, value]) => value > 0).map(([name, value]) => `${name} ${value}`),
  ];
}
