import type { ConnectionOptions } from 'node:tls';

export interface RabbitmqOptions {
  /** `amqp://` or `amqps://`, or the nodes of a cluster, tried in turn. */
  readonly url: string | readonly string[];
  /** Instead of the one in the URL. */
  readonly username?: string;
  /** Instead of the one in the URL. */
  readonly password?: string;
  /** Instead of the one in the URL. */
  readonly vhost?: string;
  /** A peer that is silent for two of these is taken for dead. 1 to 3600. @default 15 */
  readonly heartbeatSeconds?: number;
  /** Longest time for one node to answer, in milliseconds. @default 10_000 */
  readonly connectTimeoutMs?: number;
  /** The servers' `consumer_timeout`, where it is not RabbitMQ's default of 30 minutes. Limits the retries of ordered groups. @default 1_800_000 */
  readonly consumerTimeoutMs?: number;
  /** HTTP API of the management plugin (`http://user:password@host:15672`): adds `inFlight` to backlogs, checks bindings with `declare: 'verify'`, and tells of those that were gone. */
  readonly management?: { readonly url: string };
  /**
   * How published messages are written: holdfast's own lean form, or CloudEvents 1.0 in binary mode for consumers that
   * expect it, at the price of six headers. Both are read, whatever this says. @default 'lean'
   */
  readonly wire?: 'lean' | 'cloudevents';
  /** Node's TLS options for `amqps://`: `ca`, `cert`, `key`, `servername` … */
  readonly tls?: ConnectionOptions;
}

/** One node, without credentials in its name. */
export interface Node {
  readonly name: string;
  readonly protocol: 'amqp' | 'amqps';
  readonly hostname: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
}

export interface Settings {
  readonly nodes: readonly Node[];
  readonly vhost: string;
  readonly heartbeatSeconds: number;
  readonly connectTimeoutMs: number;
  readonly consumerTimeoutMs: number;
  readonly management: { readonly origin: string; readonly authorization: string } | undefined;
  readonly wire: 'lean' | 'cloudevents';
  readonly tls: ConnectionOptions;
}

const KEYS = [
  'url',
  'username',
  'password',
  'vhost',
  'heartbeatSeconds',
  'connectTimeoutMs',
  'consumerTimeoutMs',
  'management',
  'wire',
  'tls',
] as const;

/** Checks the options and fills in what they leave out. Throws a `TypeError` that names the key. */
export function readOptions(options: RabbitmqOptions): Settings {
  if (!isObject(options))
    throw new TypeError(`rabbitmq(options) needs an object with "url"; received ${show(options)}`);
  return gather((one) => {
    for (const key of Object.keys(options)) one(() => checkKey(key));
    for (const key of ['username', 'password', 'vhost'] as const) one(() => checkText(key, options[key]));
    const { wire = 'lean', tls = {} } = options;
    if (!isObject(tls)) one(() => refuse('tls', 'an object', tls));
    if (wire !== 'lean' && wire !== 'cloudevents') one(() => refuse('wire', "'lean' or 'cloudevents'", wire));
    const nodes = one(() => readNodes(options));
    const number = (key: 'heartbeatSeconds' | 'connectTimeoutMs' | 'consumerTimeoutMs', usual: number, most: number) =>
      one(() => readNumber(key, options[key] ?? usual, most));
    return {
      nodes,
      vhost: nodes?.[0]?.vhost ?? '/',
      heartbeatSeconds: number('heartbeatSeconds', 15, 3600),
      connectTimeoutMs: number('connectTimeoutMs', 10_000, 600_000),
      consumerTimeoutMs: number('consumerTimeoutMs', 1_800_000, Number.MAX_SAFE_INTEGER),
      management: options.management === undefined ? undefined : one(() => readManagement(options.management)),
      wire,
      tls,
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

function refuse(key: string, wanted: string, received: unknown): never {
  throw new TypeError(`rabbitmq option "${key}" must be ${wanted}; received ${show(received)}`);
}

function checkKey(key: string): void {
  if ((KEYS as readonly string[]).includes(key)) return;
  const shown = /^[\w.-]{0,64}$/.test(key) ? `"${key}"` : `of ${key.length} characters`;
  throw new TypeError(`rabbitmq has no option ${shown}; did you mean "${nearest(key.slice(0, 64), KEYS)}"?`);
}

function checkText(key: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'string') refuse(key, 'a string', value);
}

function readNodes(options: RabbitmqOptions): readonly Node[] {
  const urls = typeof options.url === 'string' ? [options.url] : options.url;
  if (!Array.isArray(urls) || urls.length === 0) refuse('url', 'a URL or a list of URLs', options.url);
  return urls.map((url: unknown) => readNode(url, options));
}

function readNode(given: unknown, options: RabbitmqOptions): Node {
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined || (url.protocol !== 'amqp:' && url.protocol !== 'amqps:')) {
    // The URL itself is not shown: it may hold a password.
    throw new TypeError('rabbitmq option "url" must begin with amqp:// or amqps://');
  }
  const protocol = url.protocol === 'amqp:' ? 'amqp' : 'amqps';
  const port = Number(url.port) || (protocol === 'amqp' ? 5672 : 5671);
  const hostname = url.hostname.replace(/^\[|\]$/g, '') || 'localhost';
  const anonymous = url.username === '' && url.password === '';
  return {
    name: `${hostname}:${port}`,
    protocol,
    hostname,
    port,
    username: options.username ?? (anonymous ? 'guest' : decoded(url.username)),
    password: options.password ?? (anonymous ? 'guest' : decoded(url.password)),
    vhost: options.vhost ?? (decoded(url.pathname.slice(1)) || '/'),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new TypeError('rabbitmq: a URL has a % that escapes nothing; write it as %25');
  }
}

function readManagement(given: unknown): { origin: string; authorization: string } {
  const text = isObject(given) ? given.url : undefined;
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new TypeError('rabbitmq option "management" must be { url } with a URL that begins with http:// or https://');
  }
  const login = `${decoded(url.username || 'guest')}:${decoded(url.password || 'guest')}`;
  return {
    origin: `${url.origin}${url.pathname.replace(/\/$/, '')}`,
    authorization: `Basic ${Buffer.from(login).toString('base64')}`,
  };
}

function readNumber(key: string, value: unknown, most: number): number {
  if (typeof value === 'number' && value >= 1 && value <= most) return value;
  return refuse(key, `a number from 1 to ${most}`, value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  return typeof value === 'number' ? String(value) : value === null ? 'null' : typeof value;
}

/** The valid name that shares most letters, pairwise, with what was received. */
function nearest(given: string, names: readonly string[]): string {
  const pairs = (text: string): Set<string> => {
    const lower = ` ${text.toLowerCase()} `;
    return new Set([...lower].slice(1).map((letter, index) => lower[index]! + letter));
  };
  const wanted = pairs(given);
  const score = (name: string): number => {
    const own = pairs(name);
    return [...own].filter((pair) => wanted.has(pair)).length / (own.size + wanted.size);
  };
  return names.toSorted((a, b) => score(b) - score(a))[0]!;
}
