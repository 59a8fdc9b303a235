/** Watches at the port, below holdfast: what the broker delivered, and what is held without being settled. */

import type { BrokerAdapter, Outbox } from 'holdfast';
import type { LedgerFile } from './ledger-file.ts';
import type { GroupName } from './topics.ts';

export interface Witness {
  /** Deliveries, or outbox rows, that this process has and that are not settled. */
  readonly held: number;
  /** Those that are. */
  readonly settled: number;
  /** The same adapter, its deliveries and settlements written down. */
  consuming(adapter: BrokerAdapter, group: GroupName): BrokerAdapter;
  /** The same outbox, the rows that its relay reads and settles counted. */
  relaying<Tx>(outbox: Outbox<Tx>): Outbox<Tx>;
}

export function createWitness(ledger: LedgerFile): Witness {
  const held = new Set<unknown>();
  let settled = 0;

  function settle(items: readonly unknown[]): void {
    for (const item of items) if (held.delete(item)) settled += 1;
  }

  return {
    get held() {
      return held.size;
    },
    get settled() {
      return settled;
    },
    consuming: (adapter, group) =>
      over(adapter, {
        async subscribe(subscription, receive) {
          const source = await adapter.subscribe(subscription, {
            deliver(batch) {
              for (const delivery of batch) held.add(delivery);
              ledger.write({
                event: 'delivered',
                group,
                ids: batch.map(({ message, position }) => message.id ?? position),
              });
              receive.deliver(batch);
            },
            revoked: (epoch) => receive.revoked(epoch),
          });
          return over(source, {
            async settle(batch) {
              const outcomes = await source.settle(batch);
              settle(batch.map(({ delivery }) => delivery));
              return outcomes;
            },
          });
        },
      }),
    relaying: (outbox) =>
      over(outbox, {
        relay: over(outbox.relay, {
          async read(leases, limit) {
            const rows = await outbox.relay.read(leases, limit);
            for (const { rowId } of rows) held.add(rowId);
            return rows;
          },
          async settle(leases, rows) {
            const ids = await outbox.relay.settle(leases, rows);
            settle(ids);
            // The others are another relay's by now.
            for (const { rowId } of rows) held.delete(rowId);
            return ids;
          },
        }),
      }),
  };
}

/** `original` with some members replaced; the others, getters too, stay its own. */
function over<T extends object>(original: T, members: Partial<T>): T {
  return Object.assign(Object.create(original) as T, members);
}
