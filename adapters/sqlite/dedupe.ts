import { randomUUID } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { DedupeStore } from '../../src/port.ts';
import { checkDedupeOptions, type SqliteDedupeOptions } from './dedupe-options.ts';
import { storeConnection } from './store-connection.ts';
import { nowMs } from './store-schema.ts';

/** A sweep takes more than was claimed since the last one, so that the table holds one window and little more. */
const SWEEP_EVERY = 200;
const SWEEP_MOST = 500;
/** Longest wait for the write lock of another process. */
const BUSY_TIMEOUT_MS = 10_000;

/**
 * Remembers handled messages in an SQLite file, for the consumers of one machine. See {@link DedupeStore}; for effects in
 * this same file an inbox promises more.
 *
 * The table is created when the file is opened, by the first call. One short write transaction per call, by the machine's
 * clock. Not synced: what it remembers outlives killed processes, but the last moments may be lost with the power. Rows
 * that have run out are removed 500 at a time by one claim in 200.
 */
export function sqliteDedupe(options: SqliteDedupeOptions): DedupeStore & {
  /** Waits for what is under way, then closes the file. Idempotent. */
  close(): Promise<void>;
} {
  const { path, windowMs, claimMs } = checkDedupeOptions(options);
  const connection = storeConnection(path, BUSY_TIMEOUT_MS);
  let opening: Promise<Statements> | undefined;
  let untilSweep = 1;

  async function open(): Promise<Statements> {
    await connection.read((db) => db.exec('PRAGMA synchronous = NORMAL'));
    return await connection.write((db) => {
      db.exec(table);
      return prepare(db);
    });
  }

  async function write<R>(step: (statements: Statements) => R): Promise<R> {
    opening ??= open().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    const statements = await opening;
    return await connection.write(() => step(statements));
  }

  return {
    claimMs,
    claim: (key) =>
      write(({ keep, handled, sweep }) => {
        const token = randomUUID();
        if (keep.run(named(key), token, 0, claimMs).changes === 0) {
          return { state: handled.get(named(key)) === undefined ? 'busy' : 'done' };
        }
        untilSweep -= 1;
        if (untilSweep <= 0) {
          untilSweep = SWEEP_EVERY;
          sweep.run(SWEEP_MOST);
        }
        return { state: 'new', token };
      }),
    commit: (key, token) => write(({ keep }) => void keep.run(named(key), token, 1, windowMs)),
    release: (key, token) => write(({ release }) => void release.run(named(key), token)),
    renew: (held) =>
      write(({ keep }) => held.map(({ key, token }) => keep.run(named(key), token, 0, claimMs).changes === 1)),
    close: () => connection.close(),
  };
}

/** SQLite's text has no lone surrogates: exactly what JSON escapes, keeping all else readable. */
const named = (key: string): string => (key.isWellFormed() ? `=${key}` : JSON.stringify(key));

const table = `
  -- What was handled lately (done), and what is being handled, until when. Delete a row to have its message handled again.
  CREATE TABLE IF NOT EXISTS holdfast_dedupe (
    key TEXT PRIMARY KEY, token TEXT NOT NULL, done INTEGER NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS holdfast_dedupe_until ON holdfast_dedupe (until);`;

type Statements = Readonly<Record<'keep' | 'handled' | 'release' | 'sweep', StatementSync>>;

function prepare(db: DatabaseSync): Statements {
  return {
    // Claims (0), commits (1) and renews (0), unless it is somebody else's, or handled.
    keep: db.prepare(`
      INSERT INTO holdfast_dedupe (key, token, done, until) VALUES (?, ?, ?, ${nowMs} + ?)
      ON CONFLICT (key) DO UPDATE SET token = excluded.token, done = excluded.done, until = excluded.until
        WHERE (holdfast_dedupe.done = 0 AND holdfast_dedupe.token = excluded.token) OR holdfast_dedupe.until <= ${nowMs}`),
    handled: db.prepare(`SELECT 1 FROM holdfast_dedupe WHERE key = ? AND done = 1`),
    release: db.prepare(`DELETE FROM holdfast_dedupe WHERE key = ? AND token = ? AND done = 0`),
    sweep: db.prepare(`
      DELETE FROM holdfast_dedupe WHERE key IN (
        SELECT key FROM holdfast_dedupe WHERE until <= ${nowMs} ORDER BY until LIMIT ?)`),
  };
}
