/**
 * 20,000 real flights through holdfast, out of a database, over a broker and into a database, while a consumer and a
 * relay are killed where it hurts most; then a ledger, counted from what the processes wrote down and by the database's
 * and the broker's own clients.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Arguments, readArguments, usage } from './args.ts';
import { gather, type Left, whatIsLeft } from './evidence.ts';
import { readFlights } from './flights.ts';
import { countLedger, type Ledger } from './ledger.ts';
import { openLedger } from './ledger-file.ts';
import { POISONED, poison } from './poison.ts';
import { type Progress, showProgress } from './progress.ts';
import { WRITERS } from './setup.ts';
import { openStage, type Stage } from './stage.ts';
import type { Flight } from './topics.ts';
import { CONSUMER_DIES_AT, failuresOf, linesOf, lostOf, RELAY_DIES_AT } from './verdict.ts';

const LOOK_MS = 500;
const SILENCE_MS = 20_000;

interface Run extends Stage {
  readonly flights: readonly Flight[];
  readonly progress: Progress;
  /** By then all must be accounted for; of the monotonic clock. */
  readonly deadline: number;
}

async function demo(options: Arguments): Promise<boolean> {
  const { broker, records, boundMs, sabotage } = options;
  const stores = broker === 'sqlite' ? 'two SQLite files, broker and store' : `${broker}, with PostgreSQL as the store`;
  console.log(
    `demo: ${records} flights over ${stores}; ${POISONED} bad records, a consumer and a relay killed at work`,
  );
  if (sabotage !== undefined) console.log(`demo: sabotaged by ${sabotage}, so it has to fail`);
  const began = performance.now();
  const interrupted = interruption();
  const flights = await readFlights(records);
  const stage = await openStage(options);
  const progress = showProgress(stage.setup.directory, records);
  try {
    const run = { ...stage, flights, progress, deadline: performance.now() + boundMs };
    const inTime = await Promise.race([perform(run), stage.crew.failed, interrupted]);
    await stage.crew.stop();
    progress.stop();
    const ledger = await takeLedger(run);
    for (const line of linesOf(ledger)) console.log(line);
    const failures = inTime
      ? failuresOf(ledger, { records, poisoned: POISONED })
      : [`not done in ${boundMs / 1_000} s: ${describe(await whatIsLeft(run.store, run.raw))}`];
    const seconds = Math.round((performance.now() - began) / 1_000);
    console.log(failures.length === 0 ? `demo: passed in ${seconds} s` : `demo: FAILED: ${failures.join('; ')}`);
    return failures.length === 0;
  } finally {
    progress.stop();
    await stage.close();
  }
}

/** The plot. Tells whether all came to rest before the deadline. */
async function perform(run: Run): Promise<boolean> {
  const { crew, setup, progress, raw } = run;
  const { records } = setup;
  crew.start('consumer', { crash: { point: CONSUMER_DIES_AT, afterSettled: Math.ceil(records / 4) } });
  crew.start('consumer');
  crew.start('relay', { crash: { point: RELAY_DIES_AT, afterSettled: Math.ceil(records / 8) } });
  for (let writer = 0; writer < WRITERS; writer += 1) crew.start('writer', { writer });
  if (!(await until(() => progress.counts().board > records / 20, run))) return false;
  // Not before, or it might be faster and leave nothing to the one that is to die.
  crew.start('relay');
  const ledger = openLedger(setup.directory, 'raw');
  await poison(raw, ledger);
  ledger.close();
  return (await until(() => crew.running('writer') === 0, run)) && (await until(atRest(run), run));
}

/** At rest: nothing is on its way, and all is accounted for; or what is missing has not come for so long that it never will. */
function atRest(run: Run): () => Promise<boolean> {
  let before = 0;
  let since = performance.now();
  return async () => {
    const left = await whatIsLeft(run.store, run.raw);
    const { events } = run.progress.counts();
    if (left.outbox + left.delays + left.board > 0 || events !== before) {
      before = events;
      since = performance.now();
      return false;
    }
    return lostOf(await takeLedger(run)) === 0 || performance.now() - since > SILENCE_MS;
  };
}

async function takeLedger({ setup, store, raw, flights }: Run): Promise<Ledger> {
  return countLedger(await gather(setup.directory, store, raw), flights);
}

async function until(condition: () => boolean | Promise<boolean>, { deadline }: Run): Promise<boolean> {
  while (performance.now() < deadline) {
    if (await condition()) return true;
    await sleep(LOOK_MS);
  }
  return false;
}

/** Rejects at Ctrl-C; nobody need be waiting for it yet. */
function interruption(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  return promise;
}

function describe({ outbox, delays, board }: Left): string {
  return `${outbox} rows in the outbox, ${delays} messages on the broker for delays, ${board} for board`;
}

let options: Arguments;
try {
  options = readArguments(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\n\n${usage}`);
  process.exit(2);
}
try {
  if (!(await demo(options))) process.exitCode = 1;
} catch (error) {
  console.error(`demo: FAILED: ${error instanceof Error ? error.stack : error}`);
  process.exitCode = 1;
}
