/**
 * npm run sabotage: chaos on builds that are broken on purpose. Each scenario is run with an intact build first, which must
 * end green; then each broken one must end red, by the violation that it is known for. Ends with 0 only when all twelve of
 * the list were caught.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { exitCodes } from './report.ts';
import { EXTRA, type SabotageName, sabotageNames, sabotages, scenarioNameOf } from './sabotage.ts';
import { scenarioNames } from './scenario.ts';

const listed = sabotageNames.filter((name) => !EXTRA.includes(name));

async function run(...words: readonly string[]): Promise<{ readonly code: number | null; readonly last: string }> {
  const main = new URL('./main.ts', import.meta.url).pathname;
  const args = ['-C', 'source', main, '--seed', values.seed, ...words];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, last: text.trim().split('\n').at(-1) ?? '' };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string', default: '1' } },
});
const unknown = positionals.find((name) => !sabotageNames.includes(name as SabotageName));
if (unknown !== undefined) {
  console.error(`npm run sabotage -- [--seed S] [NAME …], of ${sabotageNames.join(', ')}; received "${unknown}"`);
  process.exit(2);
}
const names = positionals.length === 0 ? listed : sabotageNames.filter((name) => positionals.includes(name));

const caught: SabotageName[] = [];
for (const scenario of scenarioNames) {
  const broken = names.filter((name) => scenarioNameOf(name) === scenario);
  if (broken.length === 0) continue;
  const intact = await run('--scenario', scenario);
  const sound = intact.code === exitCodes.green;
  console.log(`${scenario}, intact: ${intact.last}`);
  // What is seen in an intact build proves nothing about a broken one.
  for (const name of sound ? broken : []) {
    const { what, shows } = sabotages[name];
    const { code, last } = await run('--sabotage', name);
    // Of a build that does not run at all nothing is proved either.
    const seen = code === exitCodes.red && last.includes(`${shows} `) && !/EXITS|REJECTIONS/.test(last);
    if (seen) caught.push(name);
    console.log(`${name} (${what}): ${seen ? 'caught' : 'NOT CAUGHT'}; ${last}`);
  }
}
const count = listed.filter((name) => caught.includes(name)).length;
const left = listed.filter((name) => !names.includes(name)).length;
console.log(`sabotage ${count}/${listed.length}${left > 0 ? ` (${left} of the list not run)` : ''}`);
process.exitCode = count === listed.length ? 0 : 1;
