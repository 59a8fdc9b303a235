import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SABOTAGES } from './weather.ts';

const main = join(import.meta.dirname, 'main.ts');

/** In a process of its own: the simulation replaces timers and clocks for good. */
function simulate(...args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['-C', 'source', main, ...args], { maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

it('holds every invariant over a few hundred seeds; `npm run simulate` runs more', { timeout: 300_000 }, async () => {
  expect(await simulate('--seeds', '400')).toMatchObject({
    code: 0,
    output: expect.stringMatching(/^400 seeds, 0 failed/m),
  });
});

it('a seed replays the same run', { timeout: 60_000 }, async () => {
  const [one, two] = [await simulate('--seed', '17'), await simulate('--seed', '17')];
  const figures = ({ output }: typeof one): string | undefined => /1 seeds, .*connections \d+/.exec(output)?.[0];
  expect(figures(one)).toBeDefined();
  expect(figures(two)).toBe(figures(one));
});

const seenAs = {
  'confirms-what-is-lost': 'LOST',
  'delivers-what-it-refuses': 'FALSE FAILURE',
  'acknowledges-at-delivery': 'LOST',
  shuffles: 'INVERTED',
  'inbox-forgets': 'DOUBLED',
  'deletes-what-is-read': 'LOST',
} as const;

it.each(SABOTAGES)('the checks see a broker or store that %s', { timeout: 300_000 }, async (sabotage) => {
  const { code, output } = await simulate('--seeds', '60', '--sabotage', sabotage);
  expect(code).toBe(1);
  expect(output).toContain(seenAs[sabotage]);
});

it.each([
  [['--seed', 'abc'], '--seed must be a whole number from 1, received "abc"'],
  [['--seeds', '0'], '--seeds must be a whole number from 1, received "0"'],
  [['--sabotage', 'none'], '--sabotage must be one of'],
])('refuses %j', async (args, message) => {
  expect(await simulate(...args)).toMatchObject({ code: 2, output: expect.stringContaining(message) });
});
