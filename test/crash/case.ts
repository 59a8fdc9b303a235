/** One case, as plain data: what a process of it has to know. */

import type { BrokerAdapter } from '../../src/port.ts';
import type { Workload } from './messages.ts';

export const brokers = ['sqlite', 'rabbitmq', 'redis', 'kafka'] as const;
export type BrokerName = (typeof brokers)[number];
export const routes = ['direct', 'outbox', 'spill'] as const;
export type Route = (typeof routes)[number];
/** Of outbox, inbox, halts, spilled and handled messages. */
export const stores = ['sqlite', 'postgres'] as const;
export type StoreName = (typeof stores)[number];
/** Messages of one call. */
export const handlers = ['one', 'batch'] as const;
export type HandlerName = (typeof handlers)[number];

export interface Case {
  readonly broker: BrokerName;
  readonly url: string;
  readonly route: Route;
  readonly store: StoreName;
  /** Of the store's server; of SQLite none. */
  readonly storeUrl: string;
  readonly handler: HandlerName;
  readonly workload: Workload;
  readonly topic: string;
  /** Of the ledgers, the files of a store and the notes that the case's processes leave for each other. */
  readonly folder: string;
  readonly death: Death;
  /** A process before it dies here, so that what it held comes again. */
  readonly before: Death | undefined;
}
/** At its `nth` time there, the process kills itself. */
export interface Death {
  readonly point: string;
  readonly nth: number;
}

/** In the order of their lives. */
export const lives = ['forerunner', 'victim', 'survivor'] as const;
export type Life = (typeof lives)[number];

export async function adapterOf({ broker, url }: Case): Promise<BrokerAdapter> {
  switch (broker) {
    case 'sqlite':
      return (await import('../../adapters/sqlite/index.ts')).sqlite({ path: url });
    case 'rabbitmq':
      return (await import('../../adapters/rabbitmq/index.ts')).rabbitmq({ url });
    case 'redis':
      return (await import('../../adapters/redis/index.ts')).redis({ url });
    case 'kafka':
      return (await import('../../adapters/kafka/index.ts')).kafka({ brokers: url, sessionTimeoutMs: 6_000 });
  }
}
