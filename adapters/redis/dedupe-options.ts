import { assertObject, checkKeys, gather, whole } from './checks.ts';
import { prefixOf, type Settings, settingsOf } from './options.ts';

/** What the store needs of a client: `call` of an ioredis `Redis`. */
export interface RedisCaller {
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
}

/** Options of {@link redisDedupe}: one of `url` and `client`. */
export interface RedisDedupeOptions {
  /** `redis://user:password@host:6379/0`, or `rediss://`: a connection of the store's own, restored until `close`. */
  readonly url?: string;
  /** A client of package `ioredis` of the caller's own, left open by `close`: for Sentinels or TLS settings. */
  readonly client?: RedisCaller;
  /** First part of every key: `hf:dedupe:…`. Up to 64 letters, digits and `.:_-`. @default 'hf' */
  readonly prefix?: string;
  /** How long a handled message is remembered, from its commit, in milliseconds (1 to 31 days). @default 600_000 */
  readonly windowMs?: number;
  /** How long the claim of a consumer that died keeps others out, in milliseconds (1 to 31 days). @default 60_000 */
  readonly claimMs?: number;
}

export interface DedupeSettings {
  readonly client: RedisCaller | undefined;
  /** Of the connection that is to be opened where no client was given. */
  readonly connection: Settings | undefined;
  readonly prefix: string;
  readonly windowMs: number;
  readonly claimMs: number;
}

const known = [
  'url',
  'client',
  'prefix',
  'windowMs',
  'claimMs',
] as const satisfies readonly (keyof RedisDedupeOptions)[];
const MONTH_MS = 31 * 86_400_000;

/** Checks every option; throws a `TypeError` that names the key and what was received (never a password). */
export function dedupeSettings(options: RedisDedupeOptions): DedupeSettings {
  assertObject('redisDedupe options', options);
  return gather((one) => {
    one(() => checkKeys('redisDedupe options', options, known));
    const { url, client, prefix } = options;
    one(() => checkConnection(options));
    return {
      client,
      connection: url === undefined ? undefined : one(() => settingsOf({ url })),
      prefix: one(() => prefixOf(prefix)),
      windowMs: one(() => whole('windowMs', options.windowMs, 1, MONTH_MS)) ?? 600_000,
      claimMs: one(() => whole('claimMs', options.claimMs, 1, MONTH_MS)) ?? 60_000,
    };
  });
}

function checkConnection({ url, client }: RedisDedupeOptions): void {
  if ((url === undefined) === (client === undefined)) throw new TypeError('redisDedupe needs either `url` or `client`');
  if (client !== undefined && typeof client?.call !== 'function')
    throw new TypeError('redis option `client` must be a client of package "ioredis"');
}
