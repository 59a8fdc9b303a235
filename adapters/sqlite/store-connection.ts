import { AsyncLocalStorage } from 'node:async_hooks';
import type { DatabaseSync } from 'node:sqlite';
import { commitError, explained } from './store-errors.ts';
import { type Lent, lend } from './store-lend.ts';
import { openStore } from './store-open.ts';
import { patiently } from './store-patience.ts';
import { turns } from './store-turns.ts';

export interface TransactionOptions {
  /** Ends it at any point: rolled back, the call rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly watch?: TransactionWatch;
}

/** Hears of a transaction as `work` knows it. */
export interface TransactionWatch {
  began(tx: DatabaseSync): void;
  committed(tx: DatabaseSync): void;
}

/** The store's one connection. Whoever uses it waits for his turn; the lock of others is waited for by timers. */
export interface Connection {
  /** Throws inside a transaction of this store: whoever waits there for his turn waits for himself. */
  refuseInside(): void;
  /** Looks without a transaction. */
  read<R>(step: (db: DatabaseSync) => R): Promise<R>;
  /** Runs `step` in a transaction that begins and ends within one turn of the event loop. */
  write<R>(step: (db: DatabaseSync) => R): Promise<R>;
  /** begin … commit around work that takes its time. */
  transaction<R>(options: TransactionOptions, work: (tx: DatabaseSync) => Promise<R>): Promise<R>;
  /** The database if it is open and nobody is in a transaction. */
  idle(): DatabaseSync | undefined;
  /** Waits for what is under way, then closes. Idempotent. */
  close(): Promise<void>;
}

export function storeConnection(path: string, busyTimeoutMs: number): Connection {
  const { take } = turns();
  const inside = new AsyncLocalStorage<{ open: boolean }>();
  let database: DatabaseSync | undefined;
  let closed = false;

  async function inTurn<R>(signal: AbortSignal | undefined, task: (db: DatabaseSync) => Promise<R> | R): Promise<R> {
    const end = await take(signal);
    try {
      if (closed) throw new Error(`The store on "${path}" was closed.`);
      database ??= await openStore(path, busyTimeoutMs);
      return await task(database);
    } catch (error) {
      throw explained(error);
    } finally {
      end();
    }
  }

  function refuseInside(): void {
    if (inside.getStore()?.open !== true) return;
    throw new Error(
      'A transaction of this store is open here already, and SQLite has one at a time: use its tx instead of a second one.',
    );
  }

  const begin = (db: DatabaseSync, signal?: AbortSignal): Promise<void> =>
    patiently({ path, busyTimeoutMs, signal }, () => db.exec('BEGIN IMMEDIATE'));

  return {
    refuseInside,
    read: (step) => inTurn(undefined, step),
    write: (step) =>
      inTurn(undefined, async (db) => {
        await begin(db);
        try {
          const result = step(db);
          commit(db);
          return result;
        } catch (error) {
          rollBack(db);
          throw error;
        }
      }),
    async transaction({ signal, watch }, work) {
      refuseInside();
      const state = { open: true };
      return await inTurn(signal, async (db) => {
        await begin(db, signal);
        const lent = lend(db);
        try {
          watch?.began(lent.tx);
          const result = await untilAborted(signal, () => inside.run(state, work, lent.tx));
          finish(db, lent);
          watch?.committed(lent.tx);
          return result;
        } finally {
          lent.revoke(signal?.aborted ? 'its handler timed out or was aborted.' : 'it was rolled back.');
          rollBack(db);
          state.open = false;
        }
      });
    },
    idle: () => (database?.isOpen === true && !database.isTransaction ? database : undefined),
    async close() {
      const end = await take();
      closed = true;
      database?.close();
      database = undefined;
      end();
    },
  };
}

function finish(db: DatabaseSync, lent: Lent): void {
  lent.revoke('it was committed.');
  if (!db.isTransaction) {
    throw new Error(
      'The transaction ended before its work did: by a COMMIT or ROLLBACK of its own, or by an error of SQLite.',
    );
  }
  commit(db);
}

function commit(db: DatabaseSync): void {
  try {
    db.exec('COMMIT');
  } catch (error) {
    throw commitError(error);
  }
}

function rollBack(db: DatabaseSync): void {
  if (db.isTransaction) db.exec('ROLLBACK');
}

/** Settles as `work` does, unless the signal aborts first; what becomes of the work then is nobody's concern. */
async function untilAborted<R>(signal: AbortSignal | undefined, work: () => Promise<R>): Promise<R> {
  if (signal === undefined) return await work();
  signal.throwIfAborted();
  let listener: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    listener = () => reject(signal.reason);
    signal.addEventListener('abort', listener, { once: true });
  });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    if (listener !== undefined) signal.removeEventListener('abort', listener);
  }
}
