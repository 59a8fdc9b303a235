export interface SqliteOptions {
  /**
   * The database file, created if it is missing; its directory must exist, on a local disk. `':memory:'` is a database
   * of this adapter alone, gone when it closes. Not the file of an `sqliteStore`: the two would wait for each other's lock.
   */
  readonly path: string;
  /**
   * How often other processes' messages are looked for, in milliseconds (1 to 10,000); up to five times as long when
   * nothing happens. What the same process publishes arrives at once. @default 15
   */
  readonly pollMs?: number;
  /** Longest wait for a write lock that other processes hold, in milliseconds; without blocking the event loop. @default 10_000 */
  readonly busyTimeoutMs?: number;
}

const NAMES = ['path', 'pollMs', 'busyTimeoutMs'] as const;

/** Checks and completes. Throws a `TypeError` that names the option. */
export function checkOptions(options: SqliteOptions): Required<SqliteOptions> {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(`sqlite() takes { path }, received ${describe(options)}`);
  for (const key of Object.keys(options)) {
    if (!(NAMES as readonly string[]).includes(key)) {
      throw new TypeError(`sqlite() has no option "${key}"; did you mean "${nearest(key)}"?`);
    }
  }
  const { path, pollMs = 15, busyTimeoutMs = 10_000 } = options;
  if (typeof path !== 'string' || path === '') {
    throw new TypeError(`sqlite({ path }) takes the path of a file, received ${describe(path)}`);
  }
  checkMs('pollMs', pollMs, 1, 10_000);
  checkMs('busyTimeoutMs', busyTimeoutMs, 0, 3_600_000);
  return { path, pollMs, busyTimeoutMs };
}

function checkMs(name: string, value: unknown, min: number, max: number): void {
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw new TypeError(`sqlite({ ${name} }) takes milliseconds from ${min} to ${max}, received ${describe(value)}`);
  }
}

function describe(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number'
    ? JSON.stringify(value)
    : value === null
      ? 'null'
      : typeof value;
}

/** The name that shares most letters with a mistaken one. */
function nearest(key: string): string {
  const shared = (name: string): number =>
    [...new Set(key.toLowerCase())].filter((letter) => name.toLowerCase().includes(letter)).length;
  return [...NAMES].sort((a, b) => shared(b) - shared(a))[0]!;
}
