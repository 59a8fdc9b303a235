// npm run crash                                   every crash point, on SQLite, over each route
// npm run crash -- --broker sqlite,redis,…        on these brokers: servers of the environment, else of the fleet
// npm run crash -- --point relay:confirmed        one point; --seed S picks at which of its times it kills
//
// Exit codes: 0 green, 1 red, 2 usage, 3 inconclusive: nothing was proved.

import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { type Server, startServer } from '../fleet/index.ts';
import { readArguments, usage } from './args.ts';
import type { BrokerName, StoreName } from './case.ts';
import { planOf } from './plan.ts';
import { createPool } from './pool.ts';
import { type Planned, type Result, runCase } from './run-case.ts';
import { lineOf, summaryOf, tableOf } from './table.ts';

/** Cases mostly wait: for leases, on Kafka for sessions to end. */
const JOBS: Readonly<Record<BrokerName, number>> = { sqlite: 4, rabbitmq: 6, redis: 6, kafka: 12 };
const PATIENCE_MS: Readonly<Record<BrokerName, number>> = {
  sqlite: 30_000,
  rabbitmq: 60_000,
  redis: 45_000,
  kafka: 120_000,
};

const began = performance.now();
const say = (text: string): void => void process.stdout.write(`${text}\n`);

function commit(): string {
  return execFileSync('git', ['rev-parse', 'HEAD'], { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
}

function argumentsOrEnd(): ReturnType<typeof readArguments> {
  try {
    return readArguments(process.argv.slice(2), commit);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}\n`);
    process.exit(2);
  }
}

const options = argumentsOrEnd();
const servers = new Map<BrokerName | StoreName, Server>();
const pool = createPool();
let ending = false;
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  pool.close();
  await Promise.all([...servers.values()].map((server) => server.stop()));
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void end().finally(() => process.exit(3)));

async function runAll(planned: readonly Planned[], jobs: number): Promise<readonly Result[]> {
  const results: Result[] = [];
  const waiting = [...planned];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const result = await runCase(next, pool, PATIENCE_MS[next.broker]);
      results.push(result);
      if (result.problems.length > 0) say(lineOf(result));
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return results;
}

try {
  for (const name of new Set([...options.brokers, ...options.brokers.flatMap(options.storesOf)]))
    if (name !== 'sqlite') servers.set(name, await startServer(name));
  const planned = planOf(options, (name) => servers.get(name)?.url ?? '');
  const results: Result[] = [];
  for (const broker of options.brokers) {
    const its = planned.filter((each) => each.broker === broker);
    results.push(...(await runAll(its, options.jobs ?? JOBS[broker])));
  }
  say(tableOf(options.points, results));
  say(
    summaryOf(results, {
      seconds: (performance.now() - began) / 1_000,
      cores: availableParallelism(),
      seed: options.seed,
    }),
  );
  const batches = results.filter(({ planned }) => planned.handler === 'batch');
  // Where the victim dies before its first call, what it held comes again one by one: a case may have none.
  const noneTogether = batches.length > 0 && batches.every(({ count }) => count.together === 0);
  const red = results.some(({ problems }) => problems.length > 0);
  if (results.length === 0) say('inconclusive: none of these points is on any of these brokers and routes');
  if (noneTogether) say('inconclusive: no handler was called with several messages');
  process.exitCode = red ? 1 : results.length === 0 || noneTogether ? 3 : 0;
} catch (error) {
  process.stderr.write(`inconclusive: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 3;
} finally {
  await end();
}
