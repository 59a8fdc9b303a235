import type { DatabaseSync } from 'node:sqlite';
import type { Store } from '../../src/port.ts';
import { storeConnection } from './store-connection.ts';
import { haltStore } from './store-halts.ts';
import { storeInbox } from './store-inbox.ts';
import { checkStoreOptions, type SqliteStoreOptions } from './store-options.ts';
import { outboxWriter } from './store-outbox.ts';
import { parkedMessages } from './store-parked.ts';
import { relayStore } from './store-relay.ts';
import { migrateStore } from './store-schema.ts';
import { spillStore } from './store-spill.ts';
import { storeWake } from './store-wake.ts';

export type { SqliteStoreOptions } from './store-options.ts';

/**
 * Outbox and inbox in an SQLite file, beside the caller's own tables; by `node:sqlite`, no server, no dependency.
 *
 * SQLite has one writer at a time: transactions of this store run one after the other on a connection of its own, and
 * hold the file's write lock from their first statement, so keep them short. A transaction is the store's
 * `DatabaseSync`, lent; `outbox.add` also takes a handle of the caller's own on the same file, inside its transaction.
 * A commit is synced to disk before it counts.
 */
export function sqliteStore(options: SqliteStoreOptions): Store<DatabaseSync> {
  const { path, source, busyTimeoutMs } = checkStoreOptions(options);
  const connection = storeConnection(path, busyTimeoutMs);
  const wake = storeWake(connection);
  /** The store's own transactions that are open, and whether they added rows. */
  const own = new WeakMap<DatabaseSync, { added: boolean }>();
  const watch = {
    began: (tx: DatabaseSync) => void own.set(tx, { added: false }),
    committed: (tx: DatabaseSync) => {
      if (own.get(tx)?.added === true) wake.ring();
    },
  };
  const writer = outboxWriter(source, busyTimeoutMs, (tx) => {
    const mine = own.get(tx);
    // A handle of the caller's is another connection: the wake sees its commit as it sees those of other processes.
    if (mine !== undefined) mine.added = true;
  });
  return {
    outbox: {
      source,
      ...writer,
      transaction: (work) => connection.transaction({ watch }, work),
      relay: relayStore(connection, wake.onWake),
      parked: parkedMessages(connection, wake.ring),
    },
    inbox: storeInbox(connection, watch),
    halts: haltStore(connection),
    spill: spillStore(connection, source, wake.ring),
    migrate: () => connection.write(migrateStore),
    async close() {
      wake.close();
      await connection.close();
    },
  };
}
