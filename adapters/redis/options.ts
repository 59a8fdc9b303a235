import type { ConnectionOptions } from 'node:tls';
import { assertObject, checkKeys, fail, gather, text, whole } from './checks.ts';

/** Options of {@link redis}. */
export interface RedisOptions {
  /**
   * `redis://user:password@host:6379/0`, or `rediss://` for TLS. Of several, each is tried in turn until one answers
   * (replicas of one primary; not the nodes of a cluster). Not needed with `sentinels`.
   */
  readonly url?: string | readonly string[];
  /** Overrides the URL's. */
  readonly username?: string;
  /** Overrides the URL's. */
  readonly password?: string;
  /** Database number, overriding the URL's. @default 0 */
  readonly db?: number;
  /** `true`, or Node's TLS options (`ca`, `cert`, `servername` …). @default true for `rediss://` */
  readonly tls?: boolean | ConnectionOptions;
  /** First part of every key: `hf:{orders.placed}:billing:normal`. Letters, digits and `.:_-`. @default 'hf' */
  readonly prefix?: string;
  /** Asks these Sentinels (`host:port`) for the primary of this name, again after each lost connection. */
  readonly sentinels?: { readonly name: string; readonly nodes: readonly string[]; readonly password?: string };
  /** Longest wait for one connection attempt. @default 10_000 */
  readonly connectTimeoutMs?: number;
  /** Longest wait for one reply; afterwards the connection counts as dead and is replaced. At least 500. @default 5_000 */
  readonly commandTimeoutMs?: number;
  /**
   * A message published again with the same identity (dedupe key, else source and id) within this time is stored once.
   * Costs about 75 bytes of the server's memory per message of the last one to two windows. @default 120_000
   */
  readonly dedupeWindowMs?: number;
  /**
   * How long a shard of an ordered group stays with a consumer that is no longer heard of, at most.
   * @default the subscription's lease, at most 10_000
   */
  readonly shardLeaseMs?: number;
  /**
   * What a confirm means. `'disk'`: the server is expected to run with `appendonly yes` and `appendfsync always`;
   * where it does not, a warning event and a red health check say so. `'memory'`: whatever the server does.
   * An object makes every publish and settlement wait: `waitAof` for the server's fsync (Redis ≥ 7.2, useful with
   * `everysec`), `replicas` for that many replicas (with `waitAof`: for their fsync too). A failover can still lose
   * what a replica had confirmed. @default 'disk'
   */
  readonly durability?:
    | 'disk'
    | 'memory'
    | { readonly waitAof?: boolean; readonly replicas?: number; readonly timeoutMs?: number };
  /**
   * How published messages are written: holdfast's own lean form, or CloudEvents 1.0 in binary mode for consumers that
   * expect it, at the price of three fields. Both are read, whatever this says. @default 'lean'
   */
  readonly wire?: 'lean' | 'cloudevents';
}

/** Options with their defaults, addresses taken apart. */
export interface Settings {
  readonly addresses: readonly Address[];
  readonly sentinels: { name: string; nodes: readonly { host: string; port: number }[]; password?: string } | undefined;
  readonly prefix: string;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
  readonly dedupeWindowMs: number;
  readonly shardLeaseMs: number | undefined;
  readonly durability: Durability;
  readonly wire: 'lean' | 'cloudevents';
}
export interface Address {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  readonly tls: ConnectionOptions | undefined;
}
export interface Durability {
  readonly level: 'memory' | 'disk';
  readonly waitAof: boolean;
  readonly replicas: number;
  readonly timeoutMs: number;
}

const known = [
  'url',
  'username',
  'password',
  'db',
  'tls',
  'prefix',
  'sentinels',
  'connectTimeoutMs',
  'commandTimeoutMs',
  'dedupeWindowMs',
  'shardLeaseMs',
  'durability',
  'wire',
] as const satisfies readonly (keyof RedisOptions)[];

/** Checks every option; throws a `TypeError` that names the key and what was received (never a password). */
export function settingsOf(options: RedisOptions): Settings {
  assertObject('redis options', options);
  return gather((one) => {
    one(() => checkKeys('redis options', options, known));
    const { wire = 'lean' } = options;
    if (wire !== 'lean' && wire !== 'cloudevents') one(() => fail('wire', "'lean' or 'cloudevents'", wire));
    const number = (
      key: 'db' | 'connectTimeoutMs' | 'commandTimeoutMs' | 'dedupeWindowMs' | 'shardLeaseMs',
      least: number,
      most: number,
    ): number | undefined => one(() => whole(key, options[key], least, most));
    const db = number('db', 0, 1_000_000);
    const commandTimeoutMs = number('commandTimeoutMs', 500, 600_000) ?? 5_000;
    return {
      addresses: one(() => addressesOf(options, db)),
      sentinels: one(() => sentinelsOf(options.sentinels)),
      prefix: one(() => prefixOf(options.prefix)),
      connectTimeoutMs: number('connectTimeoutMs', 1, 600_000) ?? 10_000,
      commandTimeoutMs,
      dedupeWindowMs: number('dedupeWindowMs', 1_000, 7 * 86_400_000) ?? 120_000,
      shardLeaseMs: number('shardLeaseMs', 500, 3_600_000),
      durability: one(() => durabilityOf(options.durability, commandTimeoutMs)),
      wire,
    };
  });
}

function addressesOf(options: RedisOptions, db: number | undefined): Address[] {
  const { url, sentinels, tls } = options;
  text('username', options.username);
  if (options.password !== undefined && typeof options.password !== 'string') fail('password', 'a string', undefined);
  if (tls !== undefined && typeof tls !== 'boolean' && (typeof tls !== 'object' || tls === null))
    fail('tls', 'true, false or TLS options', tls);
  const urls = url === undefined ? [] : typeof url === 'string' ? [url] : url;
  if (!Array.isArray(urls)) fail('url', 'a URL or a list of URLs', url);
  if (urls.length === 0 && sentinels === undefined) throw new TypeError('redis needs `url` (or `sentinels`)');
  const own = (parsed: URL | undefined): Address => ({
    host: parsed?.hostname.replace(/^\[|\]$/g, '') || (parsed ? 'localhost' : undefined),
    port: parsed ? Number(parsed.port || 6379) : undefined,
    username: options.username ?? (parsed?.username ? decoded(parsed.username) : undefined),
    password: options.password ?? (parsed?.password ? decoded(parsed.password) : undefined),
    db: db ?? (parsed ? databaseOf(parsed) : 0),
    tls: typeof tls === 'object' ? tls : (tls ?? parsed?.protocol === 'rediss:') ? {} : undefined,
  });
  return sentinels === undefined ? urls.map((one) => own(parse(one))) : [own(undefined)];
}

function parse(url: unknown): URL {
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:'))
    // Not shown as received: it may hold a password.
    throw new TypeError('redis option `url` must be redis://host:port/db or rediss://host:port/db');
  return parsed;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new TypeError(
      'redis option `url` has a user name or password with a % that escapes nothing; write it as %25',
    );
  }
}

function databaseOf(url: URL): number {
  const path = url.pathname.slice(1);
  if (!/^\d{0,6}$/.test(path)) fail('url', 'a URL whose path is a database number', undefined);
  return Number(path);
}

function sentinelsOf(value: RedisOptions['sentinels']): Settings['sentinels'] {
  if (value === undefined) return undefined;
  checkKeys('redis option `sentinels`', value, ['name', 'nodes', 'password']);
  if (typeof value.name !== 'string' || value.name === '') fail('sentinels.name', 'the primary’s name', value.name);
  if (!Array.isArray(value.nodes) || value.nodes.length === 0)
    fail('sentinels.nodes', 'a list of host:port', value.nodes);
  const nodes = value.nodes.map((node) => {
    const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(typeof node === 'string' ? node : '');
    if (!match) return fail('sentinels.nodes', 'a list of host:port', node);
    return { host: match[1] ?? match[2] ?? '', port: Number(match[3] ?? 26379) };
  });
  return { name: value.name, nodes, ...(value.password === undefined ? {} : { password: value.password }) };
}

export function prefixOf(value: unknown): string {
  if (value === undefined) return 'hf';
  if (typeof value !== 'string' || !/^[A-Za-z0-9._:-]{1,64}$/.test(value))
    return fail('prefix', 'up to 64 letters, digits and .:_-', value);
  return value;
}

function durabilityOf(value: RedisOptions['durability'], commandTimeoutMs: number): Durability {
  if (value === undefined || value === 'disk' || value === 'memory')
    return { level: value ?? 'disk', waitAof: false, replicas: 0, timeoutMs: 0 };
  if (typeof value !== 'object' || value === null) return fail('durability', "'disk', 'memory' or an object", value);
  checkKeys('redis option `durability`', value, ['waitAof', 'replicas', 'timeoutMs']);
  if (value.waitAof !== undefined && typeof value.waitAof !== 'boolean')
    fail('durability.waitAof', 'true or false', value.waitAof);
  const replicas = whole('durability.replicas', value.replicas, 0, 100) ?? 0;
  const waitAof = value.waitAof ?? false;
  const timeoutMs = whole('durability.timeoutMs', value.timeoutMs, 1, commandTimeoutMs - 1) ?? commandTimeoutMs >> 1;
  // A replica's memory is still memory; only an fsync that was awaited is called disk.
  return { level: waitAof ? 'disk' : 'memory', waitAof, replicas, timeoutMs };
}
