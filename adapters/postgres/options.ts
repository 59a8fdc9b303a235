import type { PgPool } from './pool.ts';

export interface PostgresStoreOptions {
  /**
   * A `Pool` of package `pg`. The store borrows connections from it and never ends it. Until the store is closed, an idle
   * connection that breaks does not end the process, as it would where nobody listens to the pool's `error`.
   */
  readonly pool: PgPool;
  /** The publishing service: half of a message's identity. @default 'default' */
  readonly source?: string;
  /** Where the tables live; made by `migrate()` if it is missing. @default 'holdfast' */
  readonly schema?: string;
  /** Before the name of every table, for a schema that is shared with other things. At most 40 characters. @default '' */
  readonly prefix?: string;
  /**
   * Whether a commit wakes relays in other processes by NOTIFY, and whether a relay here listens, on one connection
   * beside the pool. Without it they find new rows by polling alone. @default true
   */
  readonly notify?: boolean;
}

export type CheckedOptions = Required<PostgresStoreOptions>;

const known = ['pool', 'source', 'schema', 'prefix', 'notify'];
export const identifier: RegExp = /^[a-z_][a-z0-9_]{0,62}$/;
export const prefixed: RegExp = /^([a-z_][a-z0-9_]{0,39})?$/;

export function checkOptions(options: PostgresStoreOptions): CheckedOptions {
  if (typeof options !== 'object' || options === null) throw refuse('needs an object of options', options);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new TypeError(`postgresStore: unknown option "${key}"; ${nearest(key, known)}`);
  }
  const { pool, source = 'default', schema = 'holdfast', prefix = '', notify = true } = options;
  if (typeof pool?.connect !== 'function' || typeof pool.query !== 'function') {
    throw refuse('option "pool" must be a Pool of package "pg" (with connect() and query())', pool);
  }
  if (typeof source !== 'string' || source === '' || source.includes('\0')) {
    throw refuse('option "source" must be a non-empty string', source);
  }
  if (typeof schema !== 'string' || !identifier.test(schema)) {
    throw refuse('option "schema" must match [a-z_][a-z0-9_]{0,62}', schema);
  }
  if (typeof prefix !== 'string' || !prefixed.test(prefix)) {
    throw refuse('option "prefix" must be empty or match [a-z_][a-z0-9_]{0,39}', prefix);
  }
  if (typeof notify !== 'boolean') throw refuse('option "notify" must be true or false', notify);
  return { pool, source, schema, prefix, notify };
}

/** Names what was received by its type alone unless it is short text: a pool's settings hold a password. */
export function refuse(rule: string, received: unknown, what = 'postgresStore'): TypeError {
  const shown = typeof received === 'string' ? JSON.stringify(received.slice(0, 80)) : typeName(received);
  return new TypeError(`${what}: ${rule}; received ${shown}`);
}

function typeName(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
}

export function nearest(key: string, known: readonly string[]): string {
  const [best] = known
    .map((name) => ({ name, distance: distance(key.toLowerCase(), name.toLowerCase()) }))
    .sort(byDistance);
  const list = `the options are ${known.join(', ')}`;
  return best !== undefined && best.distance <= 3 ? `did you mean "${best.name}"? (${list})` : list;
}

function byDistance(a: { readonly distance: number }, b: { readonly distance: number }): number {
  return a.distance - b.distance;
}

/** Letters to insert, delete or replace to turn one word into the other (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}
