import { commitOutcomeUnknown, commitRefused, isConnectionLoss } from './errors.ts';
import type { PgClient, PgPool, PgTransaction } from './pool.ts';
import { type Revocable, revocable } from './revocable.ts';

export interface TransactionOptions {
  readonly pool: PgPool;
  /** The statement that begins it. */
  readonly begin: string;
  /** Ends it at any point: rolled back, its connection destroyed, the call rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly watch?: TransactionWatch;
}

/** Hears of a transaction as `work` knows it. */
export interface TransactionWatch {
  began(tx: PgTransaction): void;
  committed(tx: PgTransaction): void;
}

/** Names one transaction of one server process for certain, so that nobody else's can be ended by mistake. */
export interface Backend {
  readonly pid: string;
  readonly startedAt: string;
}

interface Open {
  readonly client: PgClient;
  readonly lent: Revocable<PgClient>;
  /** Why the connection broke, if it did. */
  lost: Error | undefined;
  backend: Backend | undefined;
  committing: boolean;
  released: boolean;
}

/**
 * begin … commit on a connection of its own. `work` gets the transaction, which throws as soon as it has ended.
 *
 * When `work` throws, it is rolled back and the error handed on. When the reply to COMMIT is lost, the error says
 * `outcome: 'unknown'`.
 */
export async function inTransaction<R>(
  options: TransactionOptions,
  work: (tx: PgTransaction, identify: (backend: Backend) => void) => Promise<R>,
): Promise<R> {
  const { pool, signal, watch } = options;
  const client = await checkOut(pool, signal);
  const lent = revocable(client, ['release', 'end', 'connect']);
  const open: Open = { client, lent, lost: undefined, backend: undefined, committing: false, released: false };
  const onError = (error: Error): void => {
    open.lost ??= error;
  };
  // A connection that breaks while nobody queries it says so by an event, which would end the process unheard.
  client.on('error', onError);
  watch?.began(lent.proxy);
  try {
    const running = carryOut(open, options.begin, work);
    const result =
      signal === undefined ? await running : await untilAborted(signal, () => abort(open, pool, signal), running);
    watch?.committed(lent.proxy);
    return result;
  } finally {
    // Not at once: a destroyed connection may still report its end.
    setImmediate(() => client.removeListener('error', onError));
  }
}

async function carryOut<R>(
  open: Open,
  begin: string,
  work: (tx: PgTransaction, identify: (backend: Backend) => void) => Promise<R>,
): Promise<R> {
  const { client, lent } = open;
  let result: R;
  try {
    await client.query(begin);
    result = await work(lent.proxy, (backend) => {
      open.backend = backend;
    });
    if (open.lost !== undefined) throw open.lost;
  } catch (error) {
    lent.revoke('it was rolled back, since its work failed.');
    await rollBack(open);
    throw error;
  }
  lent.revoke('it was committed.');
  if (!open.released) await commit(open);
  return result;
}

async function commit(open: Open): Promise<void> {
  open.committing = true;
  try {
    const { command } = await open.client.query('COMMIT');
    release(open, false);
    if (command === 'ROLLBACK') throw commitRefused();
  } catch (error) {
    if (open.released) throw error;
    release(open, true);
    throw isConnectionLoss(error) ? commitOutcomeUnknown(error) : error;
  }
}

async function rollBack(open: Open): Promise<void> {
  if (open.released) return;
  try {
    if (open.lost !== undefined) throw open.lost;
    await open.client.query('ROLLBACK');
    release(open, false);
  } catch {
    release(open, true);
  }
}

/** Closing the connection rolls back. A statement the server is busy with would go on and keep its locks: that is ended, too. */
function abort(open: Open, pool: PgPool, signal: AbortSignal): unknown {
  open.lent.revoke('its handler timed out or was aborted.');
  if (!open.released) {
    release(open, true);
    if (open.backend !== undefined) terminate(pool, open.backend);
  }
  return open.committing ? commitOutcomeUnknown(signal.reason) : signal.reason;
}

function terminate(pool: PgPool, { pid, startedAt }: Backend): void {
  pool
    .query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND ${microseconds('xact_start')} = $2`,
      [pid, startedAt],
    )
    .catch(() => undefined); // Without it the statement ends by itself, later.
}

/** A time as text that does not depend on a session's settings. */
export function microseconds(time: string): string {
  return `(extract(epoch FROM ${time}) * 1000000)::bigint::text`;
}

function release(open: Open, destroy: boolean): void {
  if (open.released) return;
  open.released = true;
  open.client.release(destroy || open.lost !== undefined);
}

/** Settles as `running` does, unless the signal aborts first; what becomes of `running` then is nobody's concern. */
async function untilAborted<R>(signal: AbortSignal, onAbort: () => unknown, running: Promise<R>): Promise<R> {
  let listener: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    listener = () => reject(onAbort());
    if (signal.aborted) listener();
    else signal.addEventListener('abort', listener, { once: true });
  });
  try {
    return await Promise.race([running, aborted]);
  } finally {
    if (listener !== undefined) signal.removeEventListener('abort', listener);
  }
}

/** A connection that arrives after the signal aborted goes straight back. */
async function checkOut(pool: PgPool, signal: AbortSignal | undefined): Promise<PgClient> {
  signal?.throwIfAborted();
  const connecting = pool.connect();
  if (signal === undefined) return await connecting;
  const giveBack = (): unknown => {
    connecting.then(
      (client) => client.release(),
      () => undefined,
    );
    return signal.reason;
  };
  return await untilAborted(signal, giveBack, connecting);
}
