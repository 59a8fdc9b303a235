import type { ConnectionOptions } from 'node:tls';
import type { SASLOptions } from 'kafkajs';

/** A login as kafkajs takes it, or a function that gives it, for each connection anew: passwords may be rotated, tokens expire. */
export type Login = SASLOptions | (() => SASLOptions | Promise<SASLOptions>);

/** Options of {@link kafka}. */
export interface KafkaOptions {
  /** `host:port`, several separated by commas, or a list of them; `kafka://` in front is fine. Tried in turn. */
  readonly brokers: string | readonly string[];
  /** Name shown to the broker, in its logs and quotas. @default the client's name */
  readonly clientId?: string;
  /** `true`, or Node's TLS options (`ca`, `cert`, `servername` …). @default false */
  readonly ssl?: boolean | ConnectionOptions;
  /** As kafkajs takes it: `{ mechanism: 'scram-sha-512', username, password }` and others; or a function that gives it, called for each connection. */
  readonly sasl?: Login;
  /** Replicas of each topic created. 1 survives no loss of a broker. @default the broker's `default.replication.factor` */
  readonly replication?: number;
  /** `min.insync.replicas` of each topic created. 2 of 3 replicas is what "replicated to a majority" needs. @default the broker's */
  readonly minInsync?: number;
  /** Longest wait for one connection attempt. @default 10_000 */
  readonly connectTimeoutMs?: number;
  /** Longest wait for one reply, at least 1_000; afterwards the connection counts as dead and is replaced. An unanswered publish holds back its partition up to twice as long. @default 10_000 */
  readonly requestTimeoutMs?: number;
  /** Without a heartbeat for this long a consumer counts as dead. Handlers may run longer. @default 30_000 */
  readonly sessionTimeoutMs?: number;
  /** @default a third of the session timeout, at most 3_000 */
  readonly heartbeatIntervalMs?: number;
  /** Longest an idle fetch waits at the broker; also bounds how long `close` waits. @default 250 */
  readonly maxWaitMs?: number;
  /**
   * How published messages are written: holdfast's own lean form, or CloudEvents 1.0 in binary mode for consumers that
   * expect it, at the price of four headers. Both are read, whatever this says. @default 'lean'
   */
  readonly wire?: 'lean' | 'cloudevents';
  /** The client library. @default 'kafkajs' */
  readonly client?: 'kafkajs';
}

/** Options with their defaults. */
export interface Settings {
  readonly brokers: readonly string[];
  readonly clientId: string | undefined;
  readonly ssl: boolean | ConnectionOptions;
  readonly sasl: Login | undefined;
  readonly replication: number;
  readonly minInsync: number | undefined;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly maxWaitMs: number;
  readonly wire: 'lean' | 'cloudevents';
}

const known = [
  'brokers',
  'clientId',
  'ssl',
  'sasl',
  'replication',
  'minInsync',
  'connectTimeoutMs',
  'requestTimeoutMs',
  'sessionTimeoutMs',
  'heartbeatIntervalMs',
  'maxWaitMs',
  'wire',
  'client',
] as const satisfies readonly (keyof KafkaOptions)[];

/** Checks every option; throws a `TypeError` that names the key and what was received (never a password). */
export function settingsOf(options: KafkaOptions): Settings {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new TypeError(`kafka options must be an object; received ${typeName(options)}`);
  return gather((one) => {
    const number = (key: keyof KafkaOptions, least: number, most: number): number | undefined =>
      one(() => whole(key, options[key], least, most));
    one(() => checkKeys(options));
    if (options.client !== undefined && options.client !== 'kafkajs')
      one(() => fail('client', "'kafkajs'", options.client));
    const { wire = 'lean' } = options;
    if (wire !== 'lean' && wire !== 'cloudevents') one(() => fail('wire', "'lean' or 'cloudevents'", wire));
    const sessionTimeoutMs = number('sessionTimeoutMs', 1_000, 1_800_000) ?? 30_000;
    const heartbeatIntervalMs =
      number('heartbeatIntervalMs', 100, sessionTimeoutMs - 1) ?? Math.min(3_000, Math.floor(sessionTimeoutMs / 3));
    return {
      brokers: one(() => brokersOf(options.brokers)),
      clientId: one(() => text('clientId', options.clientId)),
      ssl: one(() => sslOf(options.ssl)),
      sasl: one(() => saslOf(options.sasl)),
      replication: number('replication', 1, 32_767) ?? -1,
      minInsync: number('minInsync', 1, 32_767),
      connectTimeoutMs: number('connectTimeoutMs', 1, 600_000) ?? 10_000,
      requestTimeoutMs: number('requestTimeoutMs', 1_000, 600_000) ?? 10_000,
      sessionTimeoutMs,
      heartbeatIntervalMs,
      maxWaitMs: number('maxWaitMs', 10, 5_000) ?? 250,
      wire,
    };
  });
}

/** Has every option read, and throws one TypeError with all that is wrong. */
function gather<T>(read: (one: <V>(reader: () => V) => V) => T): T {
  const problems: string[] = [];
  const result = read((reader) => {
    try {
      return reader();
    } catch (error) {
      problems.push(error instanceof TypeError ? error.message : String(error));
      return undefined as never;
    }
  });
  if (problems.length > 0)
    throw Object.assign(new TypeError(problems.join('; ')), { code: 'invalid-option', problems });
  return result;
}

function brokersOf(value: unknown): readonly string[] {
  const list =
    typeof value === 'string'
      ? value
          .replace(/^kafka:\/\//, '')
          .replace(/\/+$/, '')
          .split(',')
      : value;
  if (!Array.isArray(list) || list.length === 0) return fail('brokers', 'host:port or a list of them', value);
  return list.map((entry: unknown) => {
    const bare = typeof entry === 'string' ? entry.trim().replace(/^kafka:\/\//, '') : '';
    // Not shown as received: a user name and a password may stand in front of the host.
    if (bare.includes('@')) throw new TypeError('kafka option `brokers` takes no credentials; give them by `sasl`');
    const match = /^(\[[0-9a-fA-F:]+\]|[^\s:/]+)(?::(\d{1,5}))?$/.exec(bare);
    if (!match) return fail('brokers', 'host:port or a list of them', entry);
    return `${match[1]}:${match[2] ?? 9092}`;
  });
}

function sslOf(value: unknown): boolean | ConnectionOptions {
  if (value === undefined) return false;
  if (typeof value !== 'boolean' && (typeof value !== 'object' || value === null || Array.isArray(value)))
    return fail('ssl', 'true, false or TLS options', value);
  return value;
}

function saslOf(value: unknown): Login | undefined {
  if (value === undefined || typeof value === 'function') return value as Login | undefined;
  if (typeof value !== 'object' || value === null || typeof (value as { mechanism?: unknown }).mechanism !== 'string')
    throw new TypeError('kafka option `sasl` must be an object with a `mechanism`, or a function that gives one');
  return value as SASLOptions;
}

function text(key: string, value: unknown): string | undefined {
  return value === undefined || (typeof value === 'string' && value !== '') ? value : fail(key, 'a text', value);
}

function whole(key: string, value: unknown, least: number, most: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  return fail(key, `a whole number from ${least} to ${most}`, value);
}

function fail(key: string, wanted: string, received: unknown): never {
  throw new TypeError(`kafka option \`${key}\` must be ${wanted}; received ${shownOf(received)}`);
}

/** Numbers and short words. Where a URL is given for something else, it may hold a password. */
function shownOf(received: unknown): string {
  if (typeof received === 'number' || typeof received === 'boolean') return String(received);
  return typeof received === 'string' && /^[\w.:-]{0,40}$/.test(received)
    ? JSON.stringify(received)
    : typeName(received);
}

const typeName = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;

function checkKeys(options: object): void {
  const problems = Object.keys(options)
    .filter((key) => !(known as readonly string[]).includes(key))
    .map((key) => {
      const short = key.slice(0, 64);
      const nearest = known.toSorted((a, b) => distance(short, a) - distance(short, b))[0];
      return `kafka has no option ${shownOf(short).replaceAll('"', '`')}; did you mean \`${nearest}\`?`;
    });
  if (problems.length > 0) throw new TypeError(problems.join('; '));
}

/** Edits between two short words. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, char] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++)
      next.push(
        Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (char.toLowerCase() === to[j]?.toLowerCase() ? 0 : 1)),
      );
    row = next;
  }
  return row[to.length] ?? 0;
}
