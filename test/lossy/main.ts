/**
 * npm run lossy -- --setting NAME --rounds N --seed S: settings that are known to lose, and what they lose; and beside
 * each its safe twin, which is broken in the same way and may lose nothing.
 *
 * Ends with 0: the safe twins lost nothing and the others did, 1: a safe twin lost, 2: wrong arguments or no servers,
 * 3: inconclusive, a setting that is known to lose lost nothing.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Arguments, readArguments, usage } from './args.ts';
import { countRounds, type Round } from './count.ts';
import { exitCodes, lineOf, type Result, saysLineOf, type Verdict, verdictOf } from './report.ts';
import { playRound } from './round.ts';
import { settings, type Variant } from './settings.ts';

async function run(options: Arguments): Promise<Verdict> {
  console.log(`lossy: ${options.settings.join(', ')}; ${options.rounds} failures each, seed ${options.seed}`);
  const results: Result[] = [];
  for (const name of options.settings) {
    const { lossy, safe } = settings[name];
    results.push(await play(name, lossy, false, options), await play(name, safe, true, options));
  }
  console.log('');
  for (const result of results) {
    console.log(lineOf(result));
    if (!result.safe) console.log(saysLineOf(result));
  }
  const { verdict, why } = verdictOf(results);
  console.log(`lossy: ${verdict}${why.length === 0 ? '' : `: ${why.join('; ')}`}`);
  return verdict;
}

const interrupted = interruption();

async function play(name: string, variant: Variant, safe: boolean, options: Arguments): Promise<Result> {
  const { title } = variant;
  const kind = safe ? 'safe' : 'lossy';
  const directory = await mkdtemp(join(tmpdir(), `holdfast-${name}-${kind}-`));
  let keep = options.keep;
  try {
    const scene = await variant.open();
    try {
      const rounds: Round[] = [];
      let says = '';
      for (let number = 1; number <= options.rounds; number++) {
        // The twin is broken at the same times.
        const place = { directory, topic: `${name}-${number}`, seed: String(options.seed), number };
        const played = await Promise.race([playRound(scene, place), interrupted]);
        rounds.push(played.round);
        says = played.says;
        const { accepted, lost } = await countRounds(directory, [played.round]);
        console.log(`${name} ${kind}, failure ${number} of ${options.rounds}: accepted ${accepted}, lost ${lost}`);
      }
      const count = await countRounds(directory, rounds);
      keep ||= safe && count.lost + count.phantom > 0;
      return { name, title, safe, version: scene.version, count, says };
    } finally {
      await scene.close();
    }
  } finally {
    if (keep) console.log(`kept ${directory}`);
    else await rm(directory, { recursive: true });
  }
}

/** Rejects at Ctrl-C; nobody need be waiting for it yet. */
function interruption(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  return promise;
}

let options: Arguments;
try {
  options = readArguments(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\n\n${usage}`);
  process.exit(2);
}
try {
  process.exit(exitCodes[await run(options)]);
} catch (error) {
  console.error(`lossy: could not be run: ${error instanceof Error ? error.stack : error}`);
  process.exit(2);
}
