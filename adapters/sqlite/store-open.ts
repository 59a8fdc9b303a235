import type { DatabaseSync } from 'node:sqlite';
import { patiently } from './store-patience.ts';

/** Opens the file in WAL mode, in which readers do not wait for the writer, and with every commit synced to disk. */
export async function openStore(path: string, busyTimeoutMs: number): Promise<DatabaseSync> {
  const { DatabaseSync } = await import('node:sqlite');
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    await patiently({ path, busyTimeoutMs }, () => prepare(db!, path));
    return db;
  } catch (cause) {
    db?.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`The store's file "${path}" cannot be opened: ${reason}`, { cause });
  }
}

function prepare(db: DatabaseSync, path: string): void {
  db.exec('PRAGMA busy_timeout = 0');
  const mode = db.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode;
  if (mode !== 'wal' && path !== ':memory:') {
    throw new Error(`its file system does not support SQLite's WAL mode (it is in mode ${mode}); use a local disk`);
  }
  db.exec('PRAGMA synchronous = FULL');
}
