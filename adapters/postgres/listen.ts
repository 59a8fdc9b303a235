import type { PgPool } from './pool.ts';

export interface Ear {
  /** Opens the connection, and opens it again whenever it breaks, until `stop`. */
  start(): void;
  stop(): Promise<void>;
}

interface ListeningClient {
  connect(): Promise<unknown>;
  query(text: string): Promise<unknown>;
  end(): Promise<void>;
  readonly connection?: { readonly stream?: { destroy?(): unknown } };
  on(event: 'error' | 'end', listener: () => void): unknown;
  on(event: 'notification', listener: (message: { readonly payload?: string }) => void): unknown;
}

const firstRetryMs = 500;
const lastRetryMs = 30_000;
const goodbyeMs = 2_000;

/**
 * Listens on a connection beside the pool, made as the pool makes its own: one of the pool's would be missing there for
 * as long as somebody listens. A pool that does not show how (`Client` and `options`, as package `pg` has them) is not
 * listened to; then, as behind a transaction pooler, polling alone finds new rows.
 *
 * `heard` is also called after every reconnect, since something may have been missed.
 */
export function listenTo(pool: PgPool, channel: string, heard: (payload: string | undefined) => void): Ear {
  let running = false;
  let client: ListeningClient | undefined;
  let timer: NodeJS.Timeout | undefined;
  let failures = 0;
  let ending: Promise<void> = Promise.resolve();

  function open(): void {
    timer = undefined;
    const opened = newClient(pool);
    if (opened === undefined) return;
    client = opened;
    opened.on('error', () => broken(opened));
    opened.on('end', () => broken(opened));
    opened.on('notification', ({ payload }) => heard(payload));
    listen(opened).catch(() => broken(opened));
  }

  async function listen(opened: ListeningClient): Promise<void> {
    await opened.connect();
    if (client !== opened) return;
    await opened.query(`LISTEN "${channel}"`);
    if (failures > 0) heard(undefined);
    failures = 0;
  }

  function broken(opened: ListeningClient): void {
    if (client !== opened) return;
    client = undefined;
    quietly(opened);
    if (!running) return;
    const waitMs = Math.min(lastRetryMs, firstRetryMs * 2 ** failures++);
    timer = setTimeout(open, waitMs).unref();
  }

  return {
    start() {
      if (running) return;
      running = true;
      open();
    },
    async stop() {
      running = false;
      clearTimeout(timer);
      const last = client;
      client = undefined;
      if (last !== undefined) ending = quietly(last);
      await ending;
    },
  };
}

/** Over a connection that died without a word nobody answers a goodbye: after a while it is dropped without one. */
async function quietly(client: ListeningClient): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const dropped = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      client.connection?.stream?.destroy?.();
      resolve();
    }, goodbyeMs);
  });
  try {
    await Promise.race([client.end(), dropped]);
  } catch {
    // It is gone either way.
  } finally {
    clearTimeout(timer);
  }
}

function newClient(pool: PgPool): ListeningClient | undefined {
  const { Client, options } = pool as { Client?: unknown; options?: unknown };
  if (typeof Client !== 'function' || options === undefined) return undefined;
  try {
    return new (Client as new (options: unknown) => ListeningClient)(options);
  } catch {
    return undefined; // Settings that make no client: the pool says so to whoever uses it.
  }
}
