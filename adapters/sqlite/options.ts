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

/** Checks and completes. Throws a `TypeError` that names every wrong option. */
export function checkOptions(options: SqliteOptions): Required<SqliteOptions> {
  const { path, pollMs = 15, busyTimeoutMs = 10_000 } = checkNames('sqlite()', options, NAMES);
  throwAll('sqlite()', [
    ...unknownIn(options, NAMES),
    wrongPath(path),
    wrongMs('pollMs', pollMs, 1, 10_000),
    wrongMs('busyTimeoutMs', busyTimeoutMs, 0, 3_600_000),
  ]);
  return { path, pollMs, busyTimeoutMs };
}

/** What is no object has no options. */
export function checkNames<O extends object>(what: string, options: O, names: readonly string[]): O {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return options;
  throw new TypeError(`${what} takes { ${names.join(', ')} }, received ${describe(options)}`);
}

export function unknownIn(options: object, names: readonly string[]): readonly string[] {
  return Object.keys(options)
    .filter((key) => !names.includes(key))
    .map((key) => `has no option ${describe(key)}; did you mean "${nearest(key, names)}"?`);
}

export function wrongPath(path: unknown): string | undefined {
  // SQLite ends a path at a zero byte: it would be another file. A URL would be one, too, named like its password.
  if (typeof path === 'string' && path !== '' && !path.includes('\0') && !path.includes('://')) return undefined;
  return `takes the path of a file as "path", received ${describe(path)}`;
}

export function wrongMs(name: string, value: unknown, min: number, max: number): string | undefined {
  if (typeof value === 'number' && value >= min && value <= max) return undefined;
  return `takes milliseconds from ${min} to ${max} as "${name}", received ${describe(value)}`;
}

export function throwAll(what: string, problems: readonly (string | undefined)[]): void {
  const found = problems.filter((problem) => problem !== undefined);
  if (found.length === 0) return;
  throw Object.assign(new TypeError(`${what} ${found.join('; ')}`), { code: 'invalid-option', problems: found });
}

/** Numbers and short words. Where a URL is given for something else, it may hold a password. */
export function describe(value: unknown): string {
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string' && /^[\w .:-]{0,64}$/.test(value)) return JSON.stringify(value);
  return value === null ? 'null' : typeof value;
}

/** The name that shares most letters with a mistaken one. */
function nearest(key: string, names: readonly string[]): string {
  const shared = (name: string): number =>
    [...new Set(key.toLowerCase())].filter((letter) => name.toLowerCase().includes(letter)).length;
  return [...names].sort((a, b) => shared(b) - shared(a))[0]!;
}
