// npm run fuzz                              a million cases with a new seed
// npm run fuzz -- --seed 7 --cases 5000000  the same again, or more of them
// npm run fuzz -- --seed 7 -t rabbitmq      what follows goes to vitest

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: {
    seed: { type: 'string' },
    cases: { type: 'string', default: '1000000' },
    t: { type: 'string', short: 't' },
  },
  allowPositionals: true,
});
const seed = wholeNumber('seed', values.seed ?? String(Math.floor(Math.random() * 2 ** 31)));
const cases = wholeNumber('cases', values.cases);

process.stdout.write(`${cases} cases with seed ${seed}; once more: npm run fuzz -- --seed ${seed} --cases ${cases}\n`);
const vitest = createRequire(import.meta.url)
  .resolve('vitest/package.json')
  .replace(/package\.json$/, 'vitest.mjs');
const only = values.t === undefined ? [] : ['-t', values.t];
const files = positionals.length === 0 ? ['test/fuzz'] : positionals;
const child = spawn(process.execPath, [vitest, 'run', ...files, ...only], {
  stdio: 'inherit',
  env: { ...process.env, HOLDFAST_FUZZ_CASES: String(cases), HOLDFAST_FUZZ_SEED: String(seed) },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
child.once('exit', (code) => {
  process.stdout.write(`seed ${seed}: ${code === 0 ? 'all hold' : 'failed'}\n`);
  process.exitCode = code ?? 1;
});

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  process.stderr.write(`--${name} takes a whole number; received "${text}"\n`);
  process.exit(2);
}
