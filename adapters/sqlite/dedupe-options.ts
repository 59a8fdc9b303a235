/** Options of {@link sqliteDedupe}. */
export interface SqliteDedupeOptions {
  /**
   * The file, created if it is missing; its directory must exist, on a local disk. `':memory:'` is of this store alone.
   * Best a file of its own: in that of an `sqlite()` broker or `sqliteStore()` the two wait for each other's lock.
   */
  readonly path: string;
  /** How long a handled message is remembered, from its commit, in milliseconds (1 to 31 days). @default 600_000 */
  readonly windowMs?: number;
  /** How long the claim of a consumer that died keeps others out, in milliseconds (1 to 31 days). @default 60_000 */
  readonly claimMs?: number;
}

const known: readonly string[] = ['path', 'windowMs', 'claimMs'];
const MONTH_MS = 31 * 86_400_000;

/** Checks and completes. Throws a `TypeError` that names the option. */
export function checkDedupeOptions(options: SqliteDedupeOptions): Required<SqliteDedupeOptions> {
  if (typeof options !== 'object' || options === null) throw refuse('takes { path }', options);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new TypeError(`sqliteDedupe() has no option "${key}"; did you mean "${nearest(key)}"?`);
    }
  }
  const { path, windowMs = 600_000, claimMs = 60_000 } = options;
  if (typeof path !== 'string' || path === '') throw refuse('takes the path of a file as "path"', path);
  for (const [name, value] of Object.entries({ windowMs, claimMs })) {
    if (!Number.isInteger(value) || value < 1 || value > MONTH_MS) {
      throw refuse(`takes whole milliseconds from 1 to ${MONTH_MS} as "${name}"`, value);
    }
  }
  return { path, windowMs, claimMs };
}

function refuse(rule: string, received: unknown): TypeError {
  const plain = typeof received === 'string' || typeof received === 'number' || received === null;
  return new TypeError(`sqliteDedupe() ${rule}; received ${plain ? JSON.stringify(received) : typeof received}`);
}

/** The name that shares most letters with a mistaken one. */
function nearest(key: string): string {
  const shared = (name: string): number =>
    [...new Set(key.toLowerCase())].filter((letter) => name.toLowerCase().includes(letter)).length;
  return [...known].sort((a, b) => shared(b) - shared(a))[0]!;
}
