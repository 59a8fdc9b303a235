/**
 * npm run sabotage -- --broker B: runs chaos on builds that are broken on purpose, each of which must end red. Ends with 0
 * only when all twelve of the list were caught.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { brokers } from './args.ts';
import { exitCodes } from './report.ts';
import { type SabotageName, sabotageNames, sabotages } from './sabotage.ts';

/** Of the list in docs/chaos.md, built or not. */
const LISTED = 12;
/** Run beside the list. */
const EXTRA: readonly SabotageName[] = ['no-inbox'];

const words = process.argv.slice(2);
const [flag, broker = 'redis', ...chosen] = words[0] === '--broker' ? words : ['--broker', 'redis', ...words];
const unknown = chosen.find((name) => !sabotageNames.includes(name as SabotageName));
if (flag !== '--broker' || !brokers.some((each) => each === broker) || unknown !== undefined) {
  console.error(`npm run sabotage -- [--broker ${brokers.join('|')}] [NAME …], of ${sabotageNames.join(', ')}`);
  process.exit(2);
}

const names = (chosen.length === 0 ? sabotageNames : chosen) as readonly SabotageName[];
let caught = 0;
for (const name of names) {
  const { code, last } = await run(name);
  if (code === exitCodes.red && !EXTRA.includes(name)) caught += 1;
  console.log(`${name} (${sabotages[name].what}): ${code === exitCodes.red ? 'caught' : 'NOT CAUGHT'}; ${last}`);
}
const left = LISTED - names.filter((name) => !EXTRA.includes(name)).length;
console.log(`sabotage ${caught}/${LISTED}${left > 0 ? ` (${left} of the list not run)` : ''}`);
process.exitCode = caught === LISTED ? 0 : 1;

async function run(name: SabotageName): Promise<{ readonly code: number | null; readonly last: string }> {
  const main = new URL('./main.ts', import.meta.url).pathname;
  const args = ['-C', 'source', main, '--broker', broker, '--minutes', '1', '--seed', '1', '--sabotage', name];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, last: text.trim().split('\n').at(-1) ?? '' };
}
