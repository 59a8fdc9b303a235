/** holdfast/testing: what every broker and every store promises, as suites for any test runner; and a broker in memory. */

export {
  type MemoryAdapter,
  type MemoryBroker,
  memory,
  memoryBroker,
  type VirtualClock,
  virtualClock,
} from '../../adapters/memory/index.ts';
export { brokerSuite } from './broker-suite.ts';
export {
  type DedupeLimits,
  type DedupeSuiteOptions,
  type DedupeUnderTest,
  dedupeStoreSuite,
} from './dedupe-store-cases.ts';
export { type ExpectedCapabilities, expected } from './expected.ts';
export { type HaltSuiteOptions, type HaltsUnderTest, haltStoreSuite } from './halt-store-cases.ts';
export type { BrokerSuiteOptions, InboxUnderTest, It, PrivateServer } from './options.ts';
export {
  inboxStoreSuite,
  outboxStoreSuite,
  type StoreSuiteOptions,
  type StoreUnderTest,
  spillStoreSuite,
} from './store-suite.ts';
