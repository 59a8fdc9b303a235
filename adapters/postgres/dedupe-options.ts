import { assertObject, throwAll, unknownIn, wrong, wrongPlace } from './options.ts';
import type { PgPool } from './pool.ts';

/** Options of {@link postgresDedupe}. */
export interface PostgresDedupeOptions {
  /** A `Pool` of package `pg`, or anything of its shape. The store never ends it. */
  readonly pool: PgPool;
  /** Where the table lives; made by `migrate()` if it is missing. @default 'holdfast' */
  readonly schema?: string;
  /** Before the table's name, `dedupe`. At most 40 characters. @default '' */
  readonly prefix?: string;
  /** How long a handled message is remembered, from its commit, in milliseconds (1 to 31 days). @default 600_000 */
  readonly windowMs?: number;
  /** How long the claim of a consumer that died keeps others out, in milliseconds (1 to 31 days). @default 60_000 */
  readonly claimMs?: number;
}

const known = ['pool', 'schema', 'prefix', 'windowMs', 'claimMs'];
const MONTH_MS = 31 * 86_400_000;

/** Checks and completes. Throws a `TypeError` that names every wrong option. */
export function checkDedupeOptions(options: PostgresDedupeOptions): Required<PostgresDedupeOptions> {
  const what = 'postgresDedupe';
  assertObject(what, options);
  const { pool, schema = 'holdfast', prefix = '', windowMs = 600_000, claimMs = 60_000 } = options;
  throwAll(what, [
    ...unknownIn(options, known),
    ...wrongPlace(options),
    wrongMs('windowMs', windowMs),
    wrongMs('claimMs', claimMs),
  ]);
  return { pool, schema, prefix, windowMs, claimMs };
}

function wrongMs(name: string, value: unknown): string | undefined {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MONTH_MS) return undefined;
  return wrong(name, `be a whole number of milliseconds from 1 to ${MONTH_MS}`, value);
}
