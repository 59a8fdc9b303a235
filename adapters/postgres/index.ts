import type { Store } from '../../src/port.ts';
import { additions } from './additions.ts';
import { haltStore } from './halts.ts';
import { inboxOf } from './inbox.ts';
import { migrate } from './migrate.ts';
import { namesOf } from './names.ts';
import { checkOptions, type PostgresStoreOptions } from './options.ts';
import { outboxWriter } from './outbox.ts';
import { parkedMessages } from './parked.ts';
import { outliveIdleErrors, type PgTransaction } from './pool.ts';
import { relayStore } from './relay.ts';
import { spillStore } from './spill.ts';
import { inTransaction } from './transaction.ts';
import { wakeUp } from './wake.ts';

export { postgresDedupe } from './dedupe.ts';
export type { PostgresDedupeOptions } from './dedupe-options.ts';
export type { CommitOutcomeUnknown } from './errors.ts';
export type { PostgresStoreOptions } from './options.ts';
export type { PgClient, PgPool, PgResult, PgTransaction } from './pool.ts';

/**
 * Outbox and inbox in a PostgreSQL database (12 and later), over the caller's own pool.
 *
 * `Tx` is what handlers and `transaction` get, by default anything with `query(text, values)`; with package `pg`,
 * `postgresStore<PoolClient>({ pool })` gives its full type. Everything works behind a transaction pooler, except that
 * relays of other processes are then woken by their polling alone.
 *
 * Messages of one topic and key are published in the order of their inserts. Transactions that write the same key at
 * the same time and share no lock on anything have no order among them.
 */
export function postgresStore<Tx extends PgTransaction = PgTransaction>(options: PostgresStoreOptions): Store<Tx> {
  const { pool, source, schema, prefix, notify } = checkOptions(options);
  const names = namesOf(schema, prefix);
  const wake = wakeUp(pool, names, notify);

  const added = additions(wake);
  const forget = outliveIdleErrors(pool);
  const store: Store<PgTransaction> = {
    outbox: {
      source,
      ...outboxWriter(names, source, added.by),
      transaction: (work) => inTransaction({ pool, begin: 'BEGIN', watch: added }, work),
      relay: relayStore(pool, names, wake.onWake),
      parked: parkedMessages(pool, names, wake.committed),
    },
    inbox: inboxOf(pool, names, added),
    halts: haltStore(pool, names),
    spill: spillStore(pool, names, source, added),
    migrate: () => migrate(pool, names),
    async close() {
      await wake.close();
      forget();
    },
  };
  // The transaction at run time is the pool's own client, lent: it has whatever the caller's type says of it.
  return store as unknown as Store<Tx>;
}
