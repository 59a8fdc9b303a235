/**
 * npm run chaos -- --minutes N --seed S --broker B: producers, relays and consumers as processes of their own, over a real
 * broker and PostgreSQL behind proxies; faults as the seed says; then everything heals, comes to rest and is counted.
 *
 * Ends with 0: green, 1: red, 2: wrong arguments or no servers, 3: inconclusive.
 */

import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Arguments, readArguments, usage } from './args.ts';
import { judge } from './check.ts';
import { drain, storeLeft } from './drain.ts';
import { heal, storm } from './faults.ts';
import { bytesIn } from './ledger-file.ts';
import { merge } from './merge.ts';
import { attemptsOf, IMMEDIATE, PUBLISH_TIMEOUT_MS } from './patience.ts';
import { faultsOf, planOf, WINDOW_MS } from './plan.ts';
import { openRaw } from './raw/raw-broker.ts';
import { exitCodes, linesOf, type Verdict, verdictOf } from './report.ts';
import { planOfScenario, scenarioOf } from './scenario.ts';
import { openStage, type Stage } from './stage.ts';

const DRAIN_MS = 300_000;
/** Of a long run and of a short one. What is broken on purpose need not be waited for where nothing happens any more. */
const LONG = { warmUpMs: 10_000, windowMs: WINDOW_MS, idleMs: DRAIN_MS } as const;
const SHORT = { warmUpMs: 6_000, windowMs: 9_000, idleMs: 15_000 } as const;
/** RabbitMQ's HTTP API counts every 5 s; retries in memory are shorter. */
const REST_MS = 6_000;
const ROUTES = ['direct', 'outbox'] as const;
const SNAPSHOT_MS = 1_000;
/** Above so many waiting messages and rows producers stop for a while: a busy machine would never come to rest. */
const MOST_WAITING = 4_000;
const PACE_MS = 2_000;

const seconds = (since: number): number => Math.round((performance.now() - since) / 1_000);

async function chaos(options: Arguments): Promise<Verdict> {
  const began = performance.now();
  const scenario = options.scenario === undefined ? undefined : scenarioOf(options.scenario);
  const plan = scenario === undefined ? planOf(options.seed, options.minutes) : planOfScenario(options.seed, scenario);
  const { warmUpMs, windowMs, idleMs } = scenario === undefined ? LONG : SHORT;
  const planned = faultsOf(plan).length;
  console.log(
    `chaos: ${options.broker}, seed ${options.seed}, ${options.scenario ?? `${options.minutes} min`}, ${planned} faults planned`,
  );
  const commit = commitOf();
  const interrupted = interruption();
  const stage = await openStage(options);
  try {
    return await Promise.race([perform(stage), interrupted]);
  } finally {
    await stage.close();
  }

  async function perform(stage: Stage): Promise<Verdict> {
    const { crew } = stage;
    for (const route of scenario?.routes ?? ROUTES) crew.start('producer', route);
    if (scenario?.consumersLate) {
      await crew.begun();
      await sleep(warmUpMs);
    }
    for (const role of ['relay', 'relay', 'consumer', 'consumer'] as const) crew.start(role);
    const snapshots = takeSnapshots(stage);
    await crew.begun();
    const pacing = pace(stage);
    await sleep(warmUpMs);
    for (const [index, faults] of plan.entries()) {
      const opened = performance.now();
      const names = faults.map(({ kind, target }) => `${kind} ${target}`).join(', ') || 'calm';
      console.log(`${seconds(began)} s, window ${index + 1} of ${plan.length}: ${names}`);
      await storm(faults, stage);
      await sleep(Math.max(0, windowMs - (performance.now() - opened)));
    }
    await heal(stage);
    const draining = performance.now();
    console.log(`${seconds(began)} s, healed; draining`);
    await pacing.stop();
    const late = [...(await crew.stop('producer'))];
    const drained = await rest(stage, idleMs);
    const drainSeconds = seconds(draining);
    await snapshots.stop();
    late.push(...(await crew.stop('consumer', 'relay')));
    const evidence = await merge(stage.setup.directory, await drain(stage));
    const facts = judge(evidence, {
      publishTimeoutMs: PUBLISH_TIMEOUT_MS,
      maxAttempts: attemptsOf(stage.setup.delays),
      callsPerDelivery: 1 + IMMEDIATE.retries,
      late,
    });
    evidence.db.close();
    const { version } = stage.servers.broker.server;
    const run = { ...options, commit, version, planned, seconds: seconds(began), drainSeconds };
    for (const line of linesOf(facts, run)) console.log(line);
    const { verdict, why } = verdictOf(facts, run, drained);
    console.log(`chaos: ${verdict}${why.length === 0 ? '' : `: ${why.join('; ')}`}`);
    return verdict;
  }
}

/** Nothing in the outbox, nothing on the broker, and nobody writes to the ledger for a while; false where something stays. */
async function rest({ setup, servers, query }: Stage, idleMs: number): Promise<boolean> {
  const began = performance.now();
  const deadline = began + DRAIN_MS;
  const raw = await openRaw(setup, servers.broker.server);
  let ledger = { bytes: 0, since: began };
  let somethingLeftAt = began;
  let left: ReadonlyMap<string, number> = new Map();
  try {
    while (performance.now() < deadline) {
      await sleep(1_000);
      left = new Map([...(await storeLeft(query)), ...(await raw.left())]);
      const total = [...left.values()].reduce((sum, count) => sum + count, 0);
      const bytes = bytesIn(setup.directory);
      const now = performance.now();
      if (bytes !== ledger.bytes) ledger = { bytes, since: now };
      if (total > 0) somethingLeftAt = now;
      if (now - Math.max(ledger.since, somethingLeftAt) > REST_MS) return true;
      if (now - ledger.since > idleMs) break;
    }
  } finally {
    await raw.close();
  }
  const what = [...left].filter(([, count]) => count > 0).map(([name, count]) => `${name} ${count}`);
  console.log(`not at rest after ${seconds(began)} s: ${what.join(', ') || 'the ledger still grows'}`);
  return false;
}

async function waitingIn({ setup, servers, query }: Stage): Promise<ReadonlyMap<string, number>> {
  const raw = await openRaw(setup, servers.broker.server);
  try {
    return new Map([...(await storeLeft(query)), ...(await raw.left())]);
  } finally {
    await raw.close();
  }
}

/** Producers are held while consumers are far behind. */
function pace(stage: Stage): { stop(): Promise<void> } {
  return every(PACE_MS, async () => {
    const waiting = await waitingIn(stage);
    const total = [...waiting.values()].reduce((sum, count) => sum + count, 0);
    stage.crew.tell('producer', total > MOST_WAITING ? 'hold' : 'go');
  });
}

/** The bank's balances in one statement each: what is seen together was committed together. */
function takeSnapshots({ query, ledger }: Stage): { stop(): Promise<void> } {
  return every(SNAPSHOT_MS, async () => {
    const [row] = await query('select sum(balance) sum from chaos.accounts');
    ledger.write({ e: 'balance', sum: Number(row?.sum) });
  });
}

/** Again and again, whether the servers are there or not. */
function every(ms: number, act: () => Promise<void>): { stop(): Promise<void> } {
  let stopping = false;
  const acting = (async () => {
    while (!stopping) {
      await act().catch(() => undefined);
      await sleep(ms);
    }
  })();
  return {
    async stop() {
      stopping = true;
      await acting;
    },
  };
}

/** Rejects at Ctrl-C; nobody need be waiting for it yet. */
function interruption(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  return promise;
}

function commitOf(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return 'unknown';
  }
}

let options: Arguments;
try {
  options = readArguments(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\n\n${usage}`);
  process.exit(2);
}
try {
  // At once: a raw client may keep a socket to a server that is gone.
  process.exit(exitCodes[await chaos(options)]);
} catch (error) {
  console.error(`chaos: could not be run: ${error instanceof Error ? error.stack : error}`);
  // Whatever still goes on has nothing to work on any more.
  process.exit(2);
}
