import type { PgTransaction } from './pool.ts';
import type { TransactionWatch } from './transaction.ts';
import type { Wake } from './wake.ts';

export interface Additions extends TransactionWatch {
  /** Rows were added by this transaction. */
  by(tx: PgTransaction): void;
}

/** Wakes relays once rows can be seen: after the commit of a transaction of the store's own; that of another is guessed. */
export function additions(wake: Wake): Additions {
  const open = new WeakMap<PgTransaction, { added: boolean }>();
  return {
    began(tx) {
      open.set(tx, { added: false });
    },
    by(tx) {
      const own = open.get(tx);
      if (own === undefined) wake.addedElsewhere();
      else own.added = true;
    },
    committed(tx) {
      if (open.get(tx)?.added === true) wake.committed();
    },
  };
}
