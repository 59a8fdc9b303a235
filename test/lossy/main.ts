/**
 * npm run lossy -- --setting NAME --rounds N --seed S: settings that are known to lose, and what they lose; and beside
 * each its safe twin, which is broken in the same way and may lose nothing.
 *
 * Ends with 0: the safe twins lost nothing and the others did, 1: a safe twin lost, 2: wrong arguments or no servers,
 * 3: inconclusive, a setting that is known to lose lost nothing.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Arguments, readArguments, usage } from './args.ts';
import { countRounds, type Round } from './count.ts';
import { exitCodes, lineOf, type Result, saysLineOf, type Verdict, verdictOf } from './report.ts';
import { playRound } from './round.ts';
import { settings, type Variant } from './settings.ts';

class NoServers extends Error {}

async function run(options: Arguments): Promise<Verdict> {
  console.log(`lossy: ${options.settings.join(', ')}; ${options.rounds} failures each, seed ${options.seed}`);
  const results: Result[] = [];
  for (const name of options.settings) {
    const { lossy, safe } = settings[name];
    for (const [variant, isSafe] of [
      [lossy, false],
      [safe, true],
    ] as const) {
      const result = await play(name, variant, isSafe, options);
      results.push(result);
      // At once: what comes later may fail to start.
      console.log(lineOf(result));
      console.log(saysLineOf(result));
    }
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
    const scene = await variant.open().catch((error: Error) => {
      throw new NoServers(`${name} needs servers of its own to break: ${error.message}`);
    });
    try {
      const rounds: Round[] = [];
      let says = '';
      for (let number = 1; number <= options.rounds; number++) {
        // The twin is broken at the same times.
        const place = { directory, topic: `${name}-${number}`, seed: String(options.seed), number };
        const played = await Promise.race([playRound(scene, place), interrupted]);
        rounds.push(played.round);
        await writeFile(join(directory, `${place.topic}.found.json`), JSON.stringify(played.round));
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
  const why = error instanceof Error && !(error instanceof NoServers) ? error.stack : (error as Error).message;
  console.error(`lossy: could not be run: ${why}`);
  process.exit(2);
}
