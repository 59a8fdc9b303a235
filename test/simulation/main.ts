// node -C source test/simulation/main.ts --seeds 10000              runs seeds 1 to 10,000, on all cores
// node -C source test/simulation/main.ts --seeds 1000 --from 5001   seeds 5,001 to 6,000
// node -C source test/simulation/main.ts --seed 4711                one seed, with its plan
// node -C source test/simulation/main.ts --seeds 300 --sabotage shuffles   must end red

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { planOf } from './plan.ts';
import { runSeed } from './run-seed.ts';
import { SABOTAGES, type Sabotage } from './weather.ts';

const began = process.hrtime.bigint();
const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { seeds: text, seed: text, from: text, sabotage: text, slice: text } });

function refuse(problem: string): never {
  process.stderr.write(`${problem}\n`);
  process.exit(2);
}
function whole(name: string, given: string | undefined, otherwise: number): number {
  const value = given === undefined ? otherwise : Number(given);
  if (Number.isSafeInteger(value) && value >= 1 && value < 2 ** 31) return value;
  return refuse(`--${name} must be a whole number from 1, received ${JSON.stringify(given)}`);
}
const sabotage = values.sabotage as Sabotage | undefined;
if (sabotage !== undefined && !SABOTAGES.includes(sabotage))
  refuse(`--sabotage must be one of ${SABOTAGES.join(', ')}, received ${JSON.stringify(sabotage)}`);

interface Total {
  readonly red: readonly string[];
  readonly seeds: number;
  readonly accepted: number;
  readonly handled: number;
  readonly dead: number;
  readonly repeats: number;
  readonly disturbed: number;
}
const NONE: Total = { red: [], seeds: 0, accepted: 0, handled: 0, dead: 0, repeats: 0, disturbed: 0 };
const sum = (a: Total, b: Total): Total => ({
  red: [...a.red, ...b.red],
  seeds: a.seeds + b.seeds,
  accepted: a.accepted + b.accepted,
  handled: a.handled + b.handled,
  dead: a.dead + b.dead,
  repeats: a.repeats + b.repeats,
  disturbed: a.disturbed + b.disturbed,
});

/** Every `step`th seed from the first on. */
async function run(first: number, last: number, step: number): Promise<Total> {
  let total = NONE;
  for (let seed = first; seed <= last; seed += step) {
    const { problems, ...verdict } = await runSeed(seed, sabotage);
    const red = problems.length === 0 ? [] : [`seed ${seed}: ${problems.join('; ')}`];
    for (const line of red) process.stdout.write(`${line}\n`);
    total = sum(total, { ...verdict, red, seeds: 1 });
  }
  return total;
}

function inParallel(first: number, last: number, workers: number): Promise<readonly Total[]> {
  return Promise.all(
    Array.from({ length: workers }, (_, index) => {
      const args = ['--from', String(first + index), '--seeds', String(last), '--slice', String(workers)];
      const child = fork(import.meta.filename, [...args, ...(sabotage === undefined ? [] : ['--sabotage', sabotage])]);
      return new Promise<Total>((resolve, reject) => {
        child.once('message', (total) => resolve(total as Total));
        child.once('exit', (code) => reject(new Error(`a worker ended with exit code ${code} and no figures`)));
      });
    }),
  );
}

function conclude(total: Total, one: boolean): void {
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  process.stdout.write(
    `${total.seeds} seeds, ${total.red.length} failed; accepted ${total.accepted}, handled ${total.handled}, dead ${total.dead}, ` +
      `handler calls repeated ${total.repeats}, crashes and lost connections ${total.disturbed}; ${seconds.toFixed(1)} s\n`,
  );
  const idle = !one && (total.accepted < 5 * total.seeds || total.disturbed === 0 || total.repeats === 0);
  if (idle) process.stdout.write('inconclusive: too little was accepted, disturbed or repeated to prove anything\n');
  process.exitCode = total.red.length > 0 ? 1 : idle ? 3 : 0;
}

const first = whole('from', values.from, 1);
const seeds = whole('seeds', values.seeds, 1_000);
if (values.slice !== undefined) {
  process.send!(await run(first, seeds, whole('slice', values.slice, 1)));
  process.disconnect();
} else if (values.seed !== undefined) {
  const seed = whole('seed', values.seed, 1);
  process.stdout.write(`${JSON.stringify(planOf(seed), undefined, 1)}\n`);
  conclude(await run(seed, seed, 1), true);
} else {
  const totals = await inParallel(first, first + seeds - 1, Math.min(seeds, availableParallelism()));
  conclude(totals.reduce(sum, NONE), false);
}
