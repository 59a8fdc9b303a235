/**
 * Broken on purpose, to see the ledger red: a count that cannot fail proves nothing. Each of these is a mistake that
 * consumers of messages really make.
 */

import type { BrokerAdapter, Inbox, Store } from 'holdfast';
import type { GroupName } from './topics.ts';

/**
 * `no-inbox`: effects in a transaction, but nobody remembers the message. `early-settle`: acknowledged before it is
 * handled. `no-order`: what comes together is handled backwards.
 */
export const sabotages = ['no-inbox', 'early-settle', 'no-order'] as const;
export type Sabotage = (typeof sabotages)[number];

export function inboxOf(store: Store<unknown>, sabotage: Sabotage | undefined): Inbox<unknown> {
  if (sabotage !== 'no-inbox') return store.inbox;
  const { kind, maxTransactions, seen } = store.inbox;
  return {
    kind,
    maxTransactions,
    seen,
    run: (claims, _signal, work) =>
      store.outbox.transaction(async (tx) => {
        const all = claims.map((_, index) => index);
        await work(tx, all);
        return all;
      }),
  };
}

export function sabotaged(adapter: BrokerAdapter, group: GroupName, sabotage: Sabotage | undefined): BrokerAdapter {
  const backwards = sabotage === 'no-order' && group === 'board';
  const early = sabotage === 'early-settle' && group === 'delays';
  if (!backwards && !early) return adapter;
  const subscribe: BrokerAdapter['subscribe'] = (subscription, receive) => {
    const subscribed = adapter.subscribe(subscription, {
      deliver(batch) {
        const settlements = batch.map((delivery) => ({ kind: 'done', delivery }) as const);
        if (early) subscribed.then((source) => source.settle(settlements)).catch(() => undefined);
        receive.deliver(backwards ? batch.toReversed() : batch);
      },
      revoked: (epoch) => receive.revoked(epoch),
    });
    return subscribed;
  };
  return Object.assign(Object.create(adapter) as BrokerAdapter, { subscribe });
}
