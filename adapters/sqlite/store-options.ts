import { checkNames, describe, throwAll, unknownIn, wrongMs, wrongPath } from './options.ts';

export interface SqliteStoreOptions {
  /**
   * The database file with the caller's own tables, created if it is missing. `':memory:'` is a database of this store
   * alone, gone when it closes. Not the file of an `sqlite()` broker: the two would wait for each other's lock.
   */
  readonly path: string;
  /** The publishing service: half of a message's identity. @default 'default' */
  readonly source?: string;
  /**
   * Longest wait for a write lock that others hold, in milliseconds (0 to 3,600,000); without blocking the event loop.
   * Longer than the longest handler that works in an inbox transaction of another process. @default 10_000
   */
  readonly busyTimeoutMs?: number;
}

const known: readonly string[] = ['path', 'source', 'busyTimeoutMs'];

/** Checks and completes. Throws a `TypeError` that names every wrong option. */
export function checkStoreOptions(options: SqliteStoreOptions): Required<SqliteStoreOptions> {
  const { path, source = 'default', busyTimeoutMs = 10_000 } = checkNames('sqliteStore()', options, known);
  throwAll('sqliteStore()', [
    ...unknownIn(options, known),
    wrongPath(path),
    isSource(source) ? undefined : `takes 1 to 128 printable characters as "source", received ${describe(source)}`,
    wrongMs('busyTimeoutMs', busyTimeoutMs, 0, 3_600_000),
  ]);
  return { path, source, busyTimeoutMs };
}

/** What a client would take for its own source: the messages of the store are published under this one. */
function isSource(value: unknown): value is string {
  return typeof value === 'string' && /^[^\p{Cc}\p{Cs}]{1,128}$/u.test(value) && Buffer.byteLength(value) <= 255;
}
