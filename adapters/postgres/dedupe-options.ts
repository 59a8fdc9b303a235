import { identifier, nearest, prefixed, refuse } from './options.ts';
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

/** Checks and completes. Throws a `TypeError` that names the option. */
export function checkDedupeOptions(options: PostgresDedupeOptions): Required<PostgresDedupeOptions> {
  if (typeof options !== 'object' || options === null) throw wrong('needs an object of options', options);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new TypeError(`postgresDedupe: unknown option "${key}"; ${nearest(key, known)}`);
  }
  const { pool, schema = 'holdfast', prefix = '', windowMs = 600_000, claimMs = 60_000 } = options;
  if (typeof pool?.query !== 'function' || typeof pool.connect !== 'function') {
    throw wrong('option "pool" must be a Pool of package "pg" (with connect() and query())', pool);
  }
  if (typeof schema !== 'string' || !identifier.test(schema)) {
    throw wrong('option "schema" must match [a-z_][a-z0-9_]{0,62}', schema);
  }
  if (typeof prefix !== 'string' || !prefixed.test(prefix)) {
    throw wrong('option "prefix" must be empty or match [a-z_][a-z0-9_]{0,39}', prefix);
  }
  for (const [name, value] of Object.entries({ windowMs, claimMs })) {
    if (!Number.isInteger(value) || value < 1 || value > MONTH_MS) {
      throw wrong(`option "${name}" must be a whole number of milliseconds from 1 to ${MONTH_MS}`, value);
    }
  }
  return { pool, schema, prefix, windowMs, claimMs };
}

const wrong = (rule: string, received: unknown): TypeError =>
  refuse(rule, typeof received === 'number' ? String(received) : received, 'postgresDedupe');
