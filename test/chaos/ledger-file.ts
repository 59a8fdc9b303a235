/** What happened, as each process saw it: one append-only file each, outside all that is under test. */

import { closeSync, createReadStream, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { FaultKind, Target } from './plan.ts';
import type { GroupName } from './topics.ts';

export type Route = 'direct' | 'outbox';
export type Outcome = 'ok' | 'not-sent' | 'unknown' | 'rolled-back';

export type Line =
  /** Before a publish, or a transaction with an outbox row; `n` counts the calls with this id. */
  | {
      readonly e: 'begin';
      readonly id: string;
      readonly n: number;
      readonly route: Route;
      readonly topic: string;
      readonly key: string;
      readonly seq: number;
      readonly from?: number;
      readonly to?: number;
      readonly amount?: number;
    }
  | { readonly e: 'end'; readonly id: string; readonly n: number; readonly outcome: Outcome; readonly code?: string }
  /** The broker handed these to a consumer. */
  | { readonly e: 'delivered'; readonly g: GroupName; readonly ids: readonly string[] }
  | { readonly e: 'called'; readonly g: GroupName; readonly id: string; readonly attempt: number }
  /** The handler returned or threw. */
  | { readonly e: 'ran'; readonly g: GroupName; readonly id: string; readonly failed: boolean }
  /** Effect and inbox were committed; the inbox knew it; it was dead-lettered. */
  | { readonly e: 'handled' | 'duplicate'; readonly g: GroupName; readonly id: string }
  | {
      readonly e: 'dead';
      readonly g: GroupName;
      readonly id: string;
      readonly reason: string;
      readonly attempts: number;
    }
  /** Not the bytes, key or headers that were sent. */
  | { readonly e: 'mismatch'; readonly g: GroupName; readonly id: string }
  | { readonly e: 'rejection'; readonly text: string }
  | { readonly e: 'sample'; readonly rss: number; readonly fds: number; readonly lag: number }
  /** The supervisor's. `hit`: the target was there. `up`: it could be reached again. */
  | {
      readonly e: 'fault';
      readonly kind: FaultKind;
      readonly target: Target;
      readonly name: string;
      readonly begin: number;
      readonly up: number;
      readonly hit: boolean;
    }
  | { readonly e: 'process'; readonly name: string; readonly how: string; readonly expected: boolean }
  /** The sum of all balances in one snapshot. */
  | { readonly e: 'balance'; readonly sum: number };

/** `at` is milliseconds of the machine's monotonic clock, which its processes share. */
export type Entry = Line & { readonly at: number; readonly p: string };

export interface LedgerFile {
  /** In the system's hands before it returns, so that not even SIGKILL can take it back. */
  write(line: Line): void;
  close(): void;
}

/** Begins the names of files that hold nothing but samples. */
export const SAMPLES = 'samples-';
const SUFFIX = '.jsonl';

export const now = (): number => Number(process.hrtime.bigint()) / 1e6;

export function openLedger(directory: string, name: string): LedgerFile {
  const file = openSync(join(directory, name + SUFFIX), 'a');
  return {
    write(line) {
      writeSync(file, `${JSON.stringify({ ...line, p: name, at: Math.round(now() * 1e3) / 1e3 })}\n`);
    },
    close: () => closeSync(file),
  };
}

const filesOf = (directory: string): string[] => readdirSync(directory).filter((name) => name.endsWith(SUFFIX));

/** Bytes written so far, by all but the supervisor, samples aside: it stands still when nothing happens. */
export function bytesIn(directory: string): number {
  return filesOf(directory)
    .filter((name) => !name.startsWith('supervisor') && !name.startsWith(SAMPLES))
    .reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
}

/** Every whole line. One that a kill, or a full disk, cut off is counted and left out. */
export async function* readLedgers(directory: string, cutOff: () => void): AsyncGenerator<Entry> {
  for (const name of filesOf(directory)) {
    for await (const line of createInterface({ input: createReadStream(join(directory, name)) })) {
      const entry = parsed(line);
      if (entry === undefined) cutOff();
      else yield entry;
    }
  }
}

function parsed(line: string): Entry | undefined {
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}
