/** holdfast: one typed producer/consumer API over RabbitMQ, Kafka, Redis Streams and SQLite. */

export type {
  BatchHandler,
  BatchHandlerContext,
  Client,
  Closed,
  Context,
  Handler,
  PublishOptions,
  PublishResult,
} from './client.ts';
export { type Codec, jsonCodec } from './codec.ts';
export { type Config, defineConfig, type Environment } from './config.ts';
export { connect } from './connect.ts';
export type { ConnectOptions } from './connect-options.ts';
export type { ConsumerBreakerOptions } from './consume/breaker.ts';
export type { Consumer, Drained } from './consume/consumer.ts';
export { type MemoryDedupeOptions, memoryDedupe } from './consume/dedupe.ts';
export type { LaneWeights } from './consume/lanes.ts';
export { memoryHalts } from './consume/memory-halts.ts';
export type { BatchOptions, Classified, ConsumeOptions } from './consume/options.ts';
export type {
  CanaryOptions,
  CanarySeen,
  CountedBy,
  DeadLetters,
  Halted,
  Letter,
  LetterEdit,
  LetterFilter,
  LetterWhere,
  ListOptions,
  Released,
  ReleaseOptions,
  Replayed,
  ReplayOptions,
  StandingKey,
} from './dead-letters.ts';
export { defineTopic } from './define-topic.ts';
export {
  DeadLetter,
  type ErrorCode,
  errorCodes,
  HoldfastError,
  isHoldfastError,
  type PublishFailure,
  RetryLater,
} from './errors.ts';
export type { EventName, Events, Listener } from './events.ts';
export type { Health } from './health.ts';
export type { Message } from './message.ts';
export { createRelay, type Relay, type RelayOptions } from './outbox/relay.ts';
export type { SpillOptions } from './outbox/spill-options.ts';
export { partitionOf } from './partition.ts';
export type { BreakerOptions } from './policy/circuit-breaker.ts';
export { type Delays, exponential, fixed, type RetryDelays, type RetryOptions } from './policy/delays.ts';
export type {
  AdapterError,
  AdapterEvent,
  AdapterHealth,
  AdapterHooks,
  Backlog,
  BrokerAdapter,
  Capabilities,
  DeadLetterStore,
  DedupeClaim,
  DedupeHold,
  DedupeStore,
  Delivery,
  GroupTopology,
  Halt,
  HaltedKey,
  HaltStore,
  Headers,
  Inbox,
  InboxClaim,
  Incoming,
  Outbox,
  OutboxAddOptions,
  Outgoing,
  ParkedFilter,
  ParkedListOptions,
  ParkedMessage,
  ParkedMessages,
  ParkedWhere,
  Priority,
  PublishOutcome,
  Receive,
  Replacement,
  Settlement,
  SettleOutcome,
  Source,
  SpillEntry,
  SpillState,
  SpillStore,
  Store,
  StoredLetter,
  Subscription,
  Support,
  Topology,
} from './port.ts';
export type { Receipt } from './publish/receipt.ts';
export type { GroupOptions, Topic, TopicOptions } from './topic.ts';
