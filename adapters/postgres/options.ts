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

/** Checks and completes. Throws a `TypeError` that names every wrong option. */
export function checkOptions(options: PostgresStoreOptions): CheckedOptions {
  const what = 'postgresStore';
  assertObject(what, options);
  const { pool, source = 'default', schema = 'holdfast', prefix = '', notify = true } = options;
  throwAll(what, [
    ...unknownIn(options, known),
    ...wrongPlace(options),
    isSource(source) ? undefined : wrong('source', 'be 1 to 128 printable characters', source),
    typeof notify === 'boolean' ? undefined : wrong('notify', 'be true or false', notify),
  ]);
  return { pool, source, schema, prefix, notify };
}

/** What a client would take for its own source: the messages of the store are published under this one. */
function isSource(value: unknown): value is string {
  return typeof value === 'string' && /^[^\p{Cc}\p{Cs}]{1,128}$/u.test(value) && Buffer.byteLength(value) <= 255;
}

/** A pool, and names of tables that need nothing but quotes. */
export function wrongPlace(options: {
  readonly pool: unknown;
  readonly schema?: unknown;
  readonly prefix?: unknown;
}): readonly (string | undefined)[] {
  const { schema = 'holdfast', prefix = '' } = options;
  const pool = options.pool as Partial<PgPool> | null | undefined;
  return [
    typeof pool?.connect === 'function' && typeof pool.query === 'function'
      ? undefined
      : wrong('pool', 'be a Pool of package "pg" (with connect() and query())', pool),
    matches(identifier, schema) ? undefined : wrong('schema', 'match [a-z_][a-z0-9_]{0,62}', schema),
    matches(prefixed, prefix) ? undefined : wrong('prefix', 'be empty or match [a-z_][a-z0-9_]{0,39}', prefix),
  ];
}

const matches = (pattern: RegExp, value: unknown): boolean => typeof value === 'string' && pattern.test(value);

export function assertObject(what: string, options: unknown): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return;
  throw new TypeError(`${what}: needs an object of options; received ${shownOf(options)}`);
}

export function wrong(key: string, rule: string, received: unknown): string {
  return `option "${key}" must ${rule}; received ${shownOf(received)}`;
}

export function unknownIn(options: object, names: readonly string[]): readonly string[] {
  return Object.keys(options)
    .filter((key) => !names.includes(key))
    .map((key) => `unknown option ${shownOf(key)}; ${nearest(key.slice(0, 64), names)}`);
}

export function throwAll(what: string, problems: readonly (string | undefined)[]): void {
  const found = problems.filter((problem) => problem !== undefined);
  if (found.length === 0) return;
  throw Object.assign(new TypeError(`${what}: ${found.join('; ')}`), { code: 'invalid-option', problems: found });
}

/** Numbers and short words. A pool's settings hold a password, as a connection string does. */
function shownOf(received: unknown): string {
  if (typeof received === 'number') return String(received);
  if (typeof received === 'string' && /^[\w .";-]{0,80}$/.test(received)) return JSON.stringify(received);
  return typeName(received);
}

function typeName(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
}

function nearest(key: string, known: readonly string[]): string {
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
