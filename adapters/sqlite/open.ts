import { access, realpath, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { adapterError, isBusy, openError } from './errors.ts';
import { createTables } from './schema.ts';

export interface OpenFile {
  readonly db: DatabaseSync;
  /** The same for all who open the same file by whatever path. */
  readonly realPath: string;
}

/** `statfs` types on Linux of file systems between machines, where SQLite's shared memory and locks do not work. */
const NETWORK_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xfe534d42, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0x517b, 'SMB'],
  [0x01021997, '9P'],
  [0x00c36400, 'Ceph'],
  [0x5346414f, 'AFS'],
]);

/** Opens the file, in WAL mode, with its tables in place. `':memory:'` is a database of this adapter alone. */
export async function openFile(path: string, busyTimeoutMs: number): Promise<OpenFile> {
  if (path !== ':memory:') await checkDirectory(path);
  const { DatabaseSync } = await import('node:sqlite');
  let db: DatabaseSync | undefined;
  try {
    // Timeout 0: SQLite would wait for a lock by sleeping, and the event loop with it. We wait by timers (S34).
    db = new DatabaseSync(path, { timeout: 0 });
    await patiently(busyTimeoutMs, () => prepareFile(db!, path));
    return { db, realPath: path === ':memory:' ? path : await realpath(path) };
  } catch (error) {
    db?.close();
    throw openError(path, error);
  }
}

function prepareFile(db: DatabaseSync, path: string): void {
  const mode = db.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode;
  if (mode !== 'wal' && path !== ':memory:') {
    throw adapterError(
      'unsupported',
      `the file system of "${path}" does not support SQLite's WAL mode (it is in mode ${mode})`,
    );
  }
  // The log is cut back to this after a peak; it is written into the database every 16 MB rather than 4.
  db.exec('PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16000');
  db.exec('BEGIN IMMEDIATE');
  try {
    createTables(db, path);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

async function checkDirectory(path: string): Promise<void> {
  const directory = dirname(resolve(path));
  try {
    await access(directory);
  } catch (cause) {
    throw adapterError(
      'broker-unreachable',
      `"${path}": the directory "${directory}" does not exist or is not accessible; create it first`,
      cause,
    );
  }
  if (process.platform !== 'linux') return;
  const network = NETWORK_FILE_SYSTEMS.get((await statfs(directory)).type);
  if (network !== undefined) {
    throw adapterError(
      'unsupported',
      `"${path}" is on ${network}: SQLite can be shared by processes on one machine only; use a local disk`,
    );
  }
}

/** Calls `step` again, by and by, while another process holds the lock. */
async function patiently(busyTimeoutMs: number, step: () => void): Promise<void> {
  const end = Date.now() + busyTimeoutMs;
  for (;;) {
    try {
      step();
      return;
    } catch (error) {
      if (!isBusy(error) || Date.now() > end) throw error;
      await sleep(2 + Math.random() * 10);
    }
  }
}
