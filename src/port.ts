/**
 * The port: all that an adapter knows of the core. Types only.
 *
 * An adapter moves bytes in batches and settles deliveries. Every policy (validation, retry, breaker, dedupe, order
 * within a process, lane weights, what a dead letter says) lives in the core, once. Brokers begin at `port/adapter.ts`,
 * databases at `port/store.ts`.
 */

export type * from './port/adapter.ts';
export type * from './port/capabilities.ts';
export type * from './port/consume.ts';
export type * from './port/dead-letters.ts';
export type * from './port/halts.ts';
export type * from './port/handled.ts';
export type * from './port/message.ts';
export type * from './port/outbox.ts';
export type * from './port/parked.ts';
export type * from './port/store.ts';
