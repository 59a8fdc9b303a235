/** What happened, as the processes themselves saw it: one append-only file each, outside all that is under test. */

import { closeSync, fstatSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { GroupName } from './topics.ts';

export type Line =
  /** A writer is about to begin the transaction, and: it was committed. */
  | { readonly event: 'begin' | 'accepted'; readonly id: string }
  /** A raw client put a record on the broker that no consumer can accept. */
  | { readonly event: 'poisoned'; readonly id: string }
  /** The broker handed these to a consumer. */
  | { readonly event: 'delivered'; readonly group: GroupName; readonly ids: readonly string[] }
  /** A handler was called, and: it was done with it (`delays`: effect and inbox were committed). */
  | { readonly event: 'called' | 'handled'; readonly group: GroupName; readonly id: string }
  /** The inbox knew the message: no effect. */
  | { readonly event: 'duplicate'; readonly group: GroupName; readonly id: string }
  /** The process is about to kill itself, holding so many rows or deliveries that are not settled. */
  | { readonly event: 'killed'; readonly point: string; readonly held: number };

/** `at` is nanoseconds of the machine's monotonic clock, which its processes share. */
export type Entry = Line & { readonly at: number };

export interface LedgerFile {
  /** In the system's hands before it returns, so that not even SIGKILL can take it back. */
  write(line: Line): void;
  close(): void;
}

const SUFFIX = '.jsonl';

export function openLedger(directory: string, name: string): LedgerFile {
  const file = openSync(join(directory, name + SUFFIX), 'a');
  return {
    write(line) {
      writeSync(file, `${JSON.stringify({ ...line, at: Number(process.hrtime.bigint()) })}\n`);
    },
    close: () => closeSync(file),
  };
}

/** Returns a function that reads what all files have got since its last call, file by file. */
export function followLedgers(directory: string): () => Entry[] {
  const offsets = new Map<string, number>();
  return () => {
    const entries: Entry[] = [];
    for (const name of readdirSync(directory).filter((name) => name.endsWith(SUFFIX))) {
      const offset = offsets.get(name) ?? 0;
      const text = readFrom(join(directory, name), offset);
      // A line that is just being written is read next time.
      const whole = text.subarray(0, text.lastIndexOf('\n') + 1);
      offsets.set(name, offset + whole.length);
      for (const line of whole.toString().split('\n')) if (line !== '') entries.push(JSON.parse(line) as Entry);
    }
    return entries;
  };
}

function readFrom(path: string, offset: number): Buffer {
  const file = openSync(path, 'r');
  try {
    const text = Buffer.alloc(Math.max(0, fstatSync(file).size - offset));
    return text.subarray(0, readSync(file, text, 0, text.length, offset));
  } finally {
    closeSync(file);
  }
}
