/** Something between the core and an adapter, for who watches there or breaks it on purpose. */

import type { BrokerAdapter, Outbox, Receive, Source } from 'holdfast';

/** `original` with some members replaced; the others, getters too, stay its own. */
export function over<T extends object>(original: T, members: Partial<T>): T {
  return Object.assign(Object.create(original) as T, members);
}

/** What a consumer is given, and what it does with it; `source` rejects where the subscription failed. */
export interface Between {
  receive?(receive: Receive, source: Promise<Source>): Partial<Receive>;
  source?(source: Source): Partial<Source>;
}

export function subscribing(adapter: BrokerAdapter, between: (group: string) => Between): BrokerAdapter {
  const subscribe: BrokerAdapter['subscribe'] = async (subscription, receive) => {
    const changes = between(subscription.group);
    const { promise, resolve, reject } = Promise.withResolvers<Source>();
    promise.catch(() => undefined);
    try {
      const source = await adapter.subscribe(subscription, {
        deliver: (batch) => receive.deliver(batch),
        revoked: (epoch) => receive.revoked(epoch),
        ...changes.receive?.(receive, promise),
      });
      resolve(source);
      return over(source, changes.source?.(source) ?? {});
    } catch (error) {
      reject(error);
      throw error;
    }
  };
  return over(adapter, { subscribe });
}

export const relaying = <Tx>(outbox: Outbox<Tx>, members: Partial<Outbox<Tx>['relay']>): Outbox<Tx> =>
  over(outbox, { relay: over(outbox.relay, members) });
