import { checkNames, describe, throwAll, unknownIn, wrongMs, wrongPath } from './options.ts';

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

/** Checks and completes. Throws a `TypeError` that names every wrong option. */
export function checkDedupeOptions(options: SqliteDedupeOptions): Required<SqliteDedupeOptions> {
  const { path, windowMs = 600_000, claimMs = 60_000 } = checkNames('sqliteDedupe()', options, known);
  const wrong = (name: string, value: unknown): string | undefined =>
    Number.isInteger(value)
      ? wrongMs(name, value, 1, MONTH_MS)
      : `takes whole milliseconds as "${name}", received ${describe(value)}`;
  throwAll('sqliteDedupe()', [
    ...unknownIn(options, known),
    wrongPath(path),
    wrong('windowMs', windowMs),
    wrong('claimMs', claimMs),
  ]);
  return { path, windowMs, claimMs };
}
