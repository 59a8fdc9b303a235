/** What happened, as each process saw it: one append-only file per process, outside of all that is under test. */

import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export type Line =
  /** Of one publish call, or one transaction with an outbox row: before it, and after it. */
  | { readonly event: 'begin' | 'accepted'; readonly n: number }
  | { readonly event: 'failed'; readonly n: number; readonly error: string }
  /** A handler was called, and: it was through. With an inbox the table of effects says more. */
  | { readonly event: 'delivered' | 'handled'; readonly group: string; readonly n: number; readonly id: string }
  /** A handler of batches was called with so many messages. */
  | { readonly event: 'batch'; readonly group: string; readonly size: number }
  /** A group's dead letters as they were listed, each with its place, which is its own. */
  | {
      readonly event: 'letters';
      readonly group: string;
      readonly ns: readonly number[];
      readonly places: readonly string[];
    }
  | { readonly event: 'killed'; readonly point: string }
  /** Unforeseen, by the client's events or thrown. */
  | { readonly event: 'error'; readonly text: string };
export type Entry = Line & { readonly by: string };

export interface LedgerFile {
  /** In the system's hands before it returns, so that not even SIGKILL takes it back. */
  write(line: Line): void;
  close(): void;
}

const SUFFIX = '.jsonl';

export function openLedger(folder: string, by: string): LedgerFile {
  const file = openSync(join(folder, by + SUFFIX), 'a');
  return {
    write: (line) => void writeSync(file, `${JSON.stringify({ ...line, by })}\n`),
    close: () => closeSync(file),
  };
}

/** All lines, the first process's first. A last line that a kill has cut off does not count. */
export function readLedgers(folder: string, order: readonly string[]): readonly Entry[] {
  const there = new Set(readdirSync(folder));
  return order
    .filter((by) => there.has(by + SUFFIX))
    .flatMap((by) => {
      const text = readFileSync(join(folder, by + SUFFIX), 'utf8');
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      return whole
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Entry);
    });
}
