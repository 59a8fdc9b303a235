/** A process under test, from its inside. */

import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { setClockAhead } from './clock.ts';
import { type LedgerFile, now, openLedger, type Route, SAMPLES } from './ledger-file.ts';
import type { Setup } from './setup.ts';

export interface Job {
  readonly setup: Setup;
  /** Names its ledger file and, of a producer, its keys: no other process has or had it. */
  readonly name: string;
  /** Of a producer. */
  readonly route?: Route;
  /** Its wall clock is wrong by so much. */
  readonly clockAheadMs: number;
}

export interface Part extends Job {
  readonly ledger: LedgerFile;
  /** Fulfils when the supervisor wants the process to end in good order. */
  readonly stopped: Promise<void>;
  readonly stopping: () => boolean;
  /** Whether too much waits to be handled: a producer sends nothing for the moment. */
  readonly held: () => boolean;
  /** Tells the supervisor that it is at work. */
  readonly begun: () => void;
}

/** What the supervisor says. */
export type Word = 'stop' | 'hold' | 'go';

const SAMPLE_MS = 2_000;

/** Plays a part until it is over. Whatever it throws ends the process loudly; without its supervisor it ends at once. */
export async function play(act: (part: Part) => Promise<void>): Promise<void> {
  const job = JSON.parse(process.argv[2] ?? '') as Job;
  setClockAhead(job.clockAheadMs);
  const ledger = openLedger(job.setup.directory, job.name);
  process.on('unhandledRejection', (reason) => {
    ledger.write({ e: 'rejection', text: reason instanceof Error ? `${reason.stack}` : String(reason) });
  });
  const orphaned = (): void => process.exit(1);
  process.on('disconnect', orphaned);
  // The terminal sends Ctrl-C to all; the supervisor passes it on in its own way.
  process.on('SIGINT', () => undefined);
  let stopping = false;
  let held = false;
  const stopped = new Promise<void>((resolve) => {
    process.on('message', (word: Word) => {
      held = word === 'hold';
      if (word !== 'stop') return;
      stopping = true;
      resolve();
    });
  });
  // In a file of their own: by the growth of the other it is seen whether anything happens.
  const series = openLedger(job.setup.directory, `${SAMPLES}${job.name}`);
  let sampled = now();
  const samples = setInterval(() => {
    const lag = Math.max(0, now() - sampled - SAMPLE_MS);
    sampled = now();
    series.write({ e: 'sample', rss: process.memoryUsage.rss(), fds: readdirSync('/proc/self/fd').length, lag });
  }, SAMPLE_MS);
  const begun = (): void => void process.send?.('begun');
  await act({ ...job, ledger, stopped, stopping: () => stopping, held: () => held, begun });
  clearInterval(samples);
  series.close();
  ledger.close();
  process.off('disconnect', orphaned);
  process.disconnect();
}

/** What a service does whose broker or database is away as it starts: tries again. */
export async function persist<T>(begin: () => Promise<T>, { stopping }: Part): Promise<T> {
  for (;;) {
    try {
      return await begin();
    } catch (error) {
      if (stopping() || error instanceof TypeError) throw error;
      await sleep(250);
    }
  }
}
