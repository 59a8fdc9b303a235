import type { StoreSuiteOptions } from './store-fixtures.ts';
import { inboxCases } from './store-inbox-cases.ts';
import { leaseCases } from './store-lease-cases.ts';
import { outboxCases } from './store-outbox-cases.ts';
import { parkedCases } from './store-parked-cases.ts';
import { relayCases } from './store-relay-cases.ts';
import { spillCases } from './store-spill-cases.ts';

export type { StoreSuiteOptions, StoreUnderTest } from './store-fixtures.ts';

/** What every outbox promises, to writers and to relays. Opens a store of its own per case; needs no runner but `it`. */
export function outboxStoreSuite<Tx>(options: StoreSuiteOptions<Tx>): void {
  outboxCases(options);
  leaseCases(options);
  relayCases(options);
  parkedCases(options);
}

/** What every inbox promises: handled once, with its effects, or not at all. */
export function inboxStoreSuite<Tx>(options: StoreSuiteOptions<Tx>): void {
  inboxCases(options);
}

/** What a store promises that `connect({ spill })` can use: messages wait in it for their broker, and its relay sends them. */
export function spillStoreSuite<Tx>(options: StoreSuiteOptions<Tx>): void {
  spillCases(options);
}
