/** One failure: a process publishes, the server is broken and comes back, publishing goes on and ends, all is read. */

import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Round } from './count.ts';
import type { Job, Told } from './publisher.ts';
import { type Scene, until } from './scene.ts';

/** How long it publishes before the server is broken. */
const BEFORE_MS = { least: 800, most: 2_300 } as const;
const LEAST_CONFIRMED = 50;
/** Longer than a publish may take: see publisher.ts. */
const END_MS = 90_000;

export interface Played {
  readonly round: Round;
  readonly says: string;
}

export interface Place {
  readonly directory: string;
  readonly topic: string;
  readonly seed: string;
  readonly number: number;
}

export async function playRound(scene: Scene, { directory, topic, seed, number }: Place): Promise<Played> {
  await scene.prepare(topic, number);
  const job: Job = { directory, topic, link: scene.link };
  const child = fork(new URL('./publisher.ts', import.meta.url), [JSON.stringify(job)], {
    execPath: process.execPath,
    execArgv: ['-C', 'source'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const ended = once(child, 'exit');
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  let confirmed = 0;
  let says: string | undefined;
  child.on('message', (told: Told) => {
    confirmed = told.confirmed;
    says = told.says ?? says;
  });
  const reaches = (what: string, count: number): Promise<void> =>
    until(`${what} (${confirmed} were confirmed)`, async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the publisher has ended: ${errors}`);
      return confirmed >= count && says !== undefined;
    });
  try {
    await reaches('publishing begins', LEAST_CONFIRMED);
    await sleep(BEFORE_MS.least + chanceOf(seed, `${topic} when`) * (BEFORE_MS.most - BEFORE_MS.least));
    const killedAt = await scene.strike(topic, chanceOf(seed, `${topic} how`));
    await scene.recover(topic);
    await reaches('publishing goes on', confirmed + LEAST_CONFIRMED);
    child.send('stop');
    const late = sleep(END_MS, undefined, { ref: false }).then(() => {
      throw new Error(`the publisher has not ended in ${END_MS} ms`);
    });
    const [code] = (await Promise.race([ended, late])) as [number | null];
    if (code !== 0) throw new Error(`the publisher ended with ${code}: ${errors}`);
    return { round: { topic, killedAt, found: await scene.found(topic) }, says: says! };
  } finally {
    child.kill('SIGKILL');
  }
}

/** From 0 to 1, the same for the same words. */
function chanceOf(seed: string, words: string): number {
  return createHash('sha256').update(`${seed}/${words}`).digest().readUInt32BE() / 2 ** 32;
}
