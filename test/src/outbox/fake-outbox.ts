import type { Outbox, OutboxRelayStore } from '../../../src/port.ts';

/** An empty outbox, but for what is given. */
export function outboxOf(own: Partial<OutboxRelayStore>): Outbox<unknown> {
  const relay: OutboxRelayStore = {
    shards: 64,
    lease: async () => [],
    async release() {},
    read: async () => [],
    settle: async () => [],
    pending: async () => ({ due: false, total: 0, oldestAgeMs: undefined }),
    onWake: () => () => undefined,
    ...own,
  };
  return { relay } as Partial<Outbox<unknown>> as Outbox<unknown>;
}
