import type { BrokerAdapter, Delivery, Priority, Subscription } from '../../src/port.ts';

/** What an adapter handed over and what came back, seen at the port. */
export interface Observed {
  readonly deliveries: readonly Delivery[];
  /** Deliveries of this lane that are neither settled nor given up. */
  unsettled(lane?: Priority): number;
  /** The most there ever were, per lane. */
  readonly most: ReadonlyMap<Priority, number>;
  readonly subscriptions: readonly Subscription[];
  /** How often leases were renewed. */
  readonly renewals: number;
}

/** The same adapter, watched. */
export function observed(adapter: BrokerAdapter): { readonly adapter: BrokerAdapter; readonly seen: Observed } {
  const deliveries: Delivery[] = [];
  const open = new Set<Delivery>();
  const most = new Map<Priority, number>();
  const subscriptions: Subscription[] = [];
  let renewals = 0;
  const unsettled = (lane: Priority = 'normal'): number => [...open].filter((each) => each.lane === lane).length;

  async function subscribe(...[subscription, receive]: Parameters<BrokerAdapter['subscribe']>) {
    subscriptions.push(subscription);
    const mine = new Set<Delivery>();
    const forget = (delivery: Delivery): void => {
      open.delete(delivery);
      mine.delete(delivery);
    };
    const source = await adapter.subscribe(subscription, {
      deliver(batch) {
        for (const delivery of batch) {
          deliveries.push(delivery);
          open.add(delivery);
          mine.add(delivery);
          most.set(delivery.lane, Math.max(most.get(delivery.lane) ?? 0, unsettled(delivery.lane)));
        }
        receive.deliver(batch);
      },
      revoked(epoch) {
        for (const delivery of mine) if (delivery.epoch === epoch) forget(delivery);
        receive.revoked(epoch);
      },
    });
    const mark = source.mark?.bind(source);
    return {
      ...(mark !== undefined && { mark }),
      settle(batch: Parameters<typeof source.settle>[0]) {
        // From here on the adapter may deliver the next: what it does before the answer must not look like one too many.
        for (const { delivery } of batch) forget(delivery);
        return source.settle(batch);
      },
      async extend(list: readonly Delivery[]) {
        await source.extend(list);
        renewals += 1;
      },
      pause: (lane?: Priority) => source.pause(lane),
      resume: (lane?: Priority) => source.resume(lane),
      async stop() {
        for (const delivery of mine) forget(delivery);
        await source.stop();
      },
    };
  }

  return {
    adapter: {
      name: adapter.name,
      capabilities: adapter.capabilities,
      connect: (hooks) => adapter.connect(hooks),
      declare: (topology) => adapter.declare(topology),
      publish: (batch, limit) => adapter.publish(batch, limit),
      subscribe,
      deadLetters: (topology, group) => adapter.deadLetters(topology, group),
      backlog: (topology, group) => adapter.backlog(topology, group),
      health: () => adapter.health(),
      isTransient: (error) => adapter.isTransient(error),
      close: () => adapter.close(),
    },
    seen: {
      deliveries,
      unsettled,
      most,
      subscriptions,
      get renewals() {
        return renewals;
      },
    },
  };
}
