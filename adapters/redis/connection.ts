import type { RedisOptions as ClientOptions, Redis } from 'ioredis';
import { adapterError, isRefusal, messageOf, notConnected, plain, spoilsConnection } from './errors.ts';
import type { Settings } from './options.ts';

/** One connection that is restored, by our own supervision, until `close`. */
export interface Link {
  /** The live client; throws at once when there is none. */
  client(): Redis;
  /** The live client, as soon as there is one; rejects after `timeoutMs`, and once closed. */
  ready(timeoutMs: number): Promise<Redis>;
  /** Runs on the live client, and replaces the connection when the error says that it is of no use any more. */
  use<T>(work: (client: Redis) => Promise<T>): Promise<T>;
  readonly connected: boolean;
  readonly closed: boolean;
  close(): void;
}

export interface LinkEvents {
  /** Runs on each new connection before anybody else may use it; a rejection drops the connection again. */
  readonly onUp?: (client: Redis) => Promise<void>;
  readonly onDown?: (error: Error) => void;
}

export type RedisClass = new (options: ClientOptions) => Redis;

export async function loadClient(): Promise<RedisClass> {
  try {
    return (await import('ioredis')).Redis;
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw adapterError('missing-peer', 'holdfast/redis needs the package "ioredis": npm install ioredis', error);
  }
}

/**
 * Opens a link; rejects if no address answers.
 *
 * ioredis' own reconnect is off: it resends what was in flight, which duplicates, or (6.0.0, told not to resend) forgets
 * it, so that its promises never settle. A client that may not reconnect rejects everything in flight at once, and a new
 * one asks the Sentinels, or the next address, again.
 */
export async function openLink(
  Client: RedisClass,
  settings: Settings,
  name: string,
  events: LinkEvents = {},
): Promise<Link> {
  const waiting = new Set<(client: Redis | undefined) => void>();
  let current: Redis | undefined;
  let dialling: Redis | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let dials = 0;

  async function dial(): Promise<void> {
    const client = new Client(clientOptions(settings, dials++, name));
    dialling = client;
    let failure: unknown;
    client.on('error', (error) => {
      failure = error;
    });
    try {
      await client.connect();
      await events.onUp?.(client);
      if (closed || client.status !== 'ready') throw failure ?? notConnected();
    } catch (error) {
      destroy(client);
      throw plain(failure ?? error);
    } finally {
      dialling = undefined;
    }
    current = client;
    client.once('end', () => {
      current = undefined;
      events.onDown?.(failure === undefined ? new Error('connection closed') : plain(failure));
      if (!closed) again(0);
    });
    for (const wake of [...waiting]) wake(client);
  }

  function again(failures: number): void {
    timer = setTimeout(
      () => {
        dial().catch((error) => {
          // A password that was changed, say: it is worth telling, once.
          if (isRefusal(error) && failures === 0) events.onDown?.(error);
          if (!closed) again(failures + 1);
        });
      },
      reconnectDelayMs(failures, Math.random()),
    );
  }

  // The first time, every address gets one try before we give up.
  for (let tries = settings.addresses.length; ; ) {
    try {
      await dial();
      break;
    } catch (error) {
      if (isRefusal(error)) throw adapterError('access-refused', `Redis refused the login: ${messageOf(error)}`, error);
      if ((error as { adapterCode?: string }).adapterCode !== undefined) throw error;
      if (--tries === 0)
        throw adapterError('broker-unreachable', `Redis cannot be reached: ${messageOf(error)}`, error);
    }
  }

  return {
    get connected() {
      return current !== undefined;
    },
    get closed() {
      return closed;
    },
    client() {
      if (current === undefined) throw notConnected();
      return current;
    },
    ready(timeoutMs) {
      if (closed) return Promise.reject(notConnected());
      if (current !== undefined) return Promise.resolve(current);
      return new Promise((resolve, reject) => {
        const done = (client: Redis | undefined) => {
          waiting.delete(done);
          clearTimeout(limit);
          if (client === undefined) reject(notConnected());
          else resolve(client);
        };
        const limit = setTimeout(done, timeoutMs, undefined);
        waiting.add(done);
      });
    },
    async use(work) {
      if (current === undefined) throw notConnected();
      const client = current;
      try {
        return await work(client);
      } catch (error) {
        if (spoilsConnection(error)) destroy(client);
        throw error;
      }
    },
    close() {
      closed = true;
      clearTimeout(timer);
      for (const wake of [...waiting]) wake(undefined);
      if (dialling) destroy(dialling);
      if (current) destroy(current);
    },
  };
}

/**
 * Milliseconds until the next attempt, after so many in vain; `random` (0 to 1) keeps clients apart. However long a server
 * was away, it is asked again within a second of being back.
 */
export function reconnectDelayMs(failures: number, random: number): number {
  return Math.min(1_000, 25 * 2 ** Math.min(failures, 10)) * (0.5 + random / 2);
}

/** At once, also where the peer is silent: `disconnect` alone would wait for it to close its half. */
function destroy(client: Redis): void {
  client.disconnect();
  (client as { stream?: { destroy(): void } }).stream?.destroy();
}

/** Each dial begins with another address or Sentinel: the one before may be of no use. */
function clientOptions(settings: Settings, dial: number, name: string): ClientOptions {
  const { addresses, sentinels, connectTimeoutMs, commandTimeoutMs } = settings;
  const { host, port, username, password, db, tls } = inTurn(addresses, dial)[0]!;
  return {
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
    ...(sentinels === undefined
      ? {}
      : {
          sentinels: inTurn(sentinels.nodes, dial),
          name: sentinels.name,
          sentinelRetryStrategy: () => null,
          // Else one that is frozen would hold up the dial for good.
          sentinelCommandTimeout: Math.min(sentinelTimeoutMs, commandTimeoutMs),
          connectTimeout: connectTimeoutMs,
          ...(sentinels.password === undefined ? {} : { sentinelPassword: sentinels.password }),
          ...(tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: tls }),
        }),
    db,
    connectionName: name,
    protocol: 2,
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    commandTimeout: commandTimeoutMs,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    // A server that is loading its file is asked again after this long; ready is when it has loaded.
    maxLoadingRetryTime: 100,
  };
}

/** Longest wait for one Sentinel's answer, which it has in memory. */
const sentinelTimeoutMs = 1_000;

const inTurn = <T>(list: readonly T[], turn: number): T[] => {
  const first = turn % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
};
