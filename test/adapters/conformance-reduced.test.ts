import { it } from 'vitest';
import { type MemoryAdapter, memory, memoryBroker } from '../../adapters/memory/index.ts';
import type { BrokerAdapter, Capabilities } from '../../src/port.ts';
import { brokerSuite, type ExpectedCapabilities, expected } from '../conformance/index.ts';
import { inboxInFile } from './conformance-fixture.ts';

/** A broker that can do little passes the suite, too: its cases are picked by capability, and refusals are tested instead. */
const less = {
  order: 'none',
  priority: 'none',
  delayedPublish: 'none',
  marks: false,
  backlog: ['dead'],
} as const satisfies Partial<Capabilities>;

const capabilities: ExpectedCapabilities = { ...expected.memory, ...less };
const broker = memoryBroker();
const whole = new WeakMap<BrokerAdapter, MemoryAdapter>();

function reduced(): BrokerAdapter {
  const honest = memory({ broker });
  const adapter: BrokerAdapter = {
    ...honest,
    capabilities: { ...honest.capabilities, ...less },
    async subscribe(subscription, receive) {
      const { mark: _, ...source } = await honest.subscribe(subscription, receive);
      return source;
    },
    async backlog(topology, group) {
      const { dead, exact } = await honest.backlog(topology, group);
      return { ready: undefined, inFlight: undefined, delayed: undefined, oldestAgeMs: undefined, dead, exact };
    },
  };
  whole.set(adapter, honest);
  return adapter;
}

brokerSuite({
  name: 'memory, reduced',
  it: it.concurrent,
  capabilities,
  adapter: reduced,
  crash: (adapter) => whole.get(adapter)!.crash(),
  inbox: inboxInFile,
});
