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

/** Checks and completes. Throws a `TypeError` that names the option. */
export function checkStoreOptions(options: SqliteStoreOptions): Required<SqliteStoreOptions> {
  if (typeof options !== 'object' || options === null) throw refuse('takes { path }', options);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new TypeError(`sqliteStore() has no option "${key}"; did you mean "${nearest(key)}"?`);
    }
  }
  const { path, source = 'default', busyTimeoutMs = 10_000 } = options;
  if (typeof path !== 'string' || path === '') throw refuse('takes the path of a file as "path"', path);
  if (typeof source !== 'string' || source === '' || source.includes('\0')) {
    throw refuse('takes a non-empty string as "source"', source);
  }
  if (typeof busyTimeoutMs !== 'number' || !(busyTimeoutMs >= 0 && busyTimeoutMs <= 3_600_000)) {
    throw refuse('takes milliseconds from 0 to 3,600,000 as "busyTimeoutMs"', busyTimeoutMs);
  }
  return { path, source, busyTimeoutMs };
}

function refuse(rule: string, received: unknown): TypeError {
  const plain = typeof received === 'string' || typeof received === 'number' || received === null;
  return new TypeError(`sqliteStore() ${rule}; received ${plain ? JSON.stringify(received) : typeof received}`);
}

/** The name that shares most letters with a mistaken one. */
function nearest(key: string): string {
  const shared = (name: string): number =>
    [...new Set(key.toLowerCase())].filter((letter) => name.toLowerCase().includes(letter)).length;
  return [...known].sort((a, b) => shared(b) - shared(a))[0]!;
}
