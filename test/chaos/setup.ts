import { Socket } from 'node:net';
import type { BrokerAdapter, Inbox, Outbox, Store } from 'holdfast';
import pg from 'pg';
import type { BrokerName } from './args.ts';
import { type SabotageName, sabotageOf } from './sabotage.ts';

/** What every process of a run has to know. The URLs lead through the proxies. */
export interface Setup {
  readonly broker: BrokerName;
  readonly brokerUrl: string;
  readonly postgresUrl: string;
  /** Of the ledger files. */
  readonly directory: string;
  /** Before the next attempts at a message that has failed. */
  readonly delays: readonly number[];
  /** Producers do not know who consumes the transfers. */
  readonly consumersLate: boolean;
  readonly sabotage: SabotageName | undefined;
}

export async function adapterOf(setup: Setup): Promise<BrokerAdapter> {
  const adapter = await intactAdapterOf(setup);
  return sabotageOf(setup.sabotage).adapter?.(adapter) ?? adapter;
}

async function intactAdapterOf({ broker, brokerUrl }: Setup): Promise<BrokerAdapter> {
  switch (broker) {
    case 'rabbitmq':
      return (await import('holdfast/rabbitmq')).rabbitmq({ url: brokerUrl });
    case 'kafka':
      return (await import('holdfast/kafka')).kafka({ brokers: brokerUrl, sessionTimeoutMs: 6_000 });
    case 'redis':
      return (await import('holdfast/redis')).redis({ url: brokerUrl });
  }
}

export interface ChaosStore {
  readonly store: Store<pg.PoolClient>;
  readonly outbox: Outbox<pg.PoolClient>;
  readonly inbox: Inbox<pg.PoolClient>;
  close(): Promise<void>;
}

/** With the limits that a pool needs where connections may die without a word. */
export async function openStore(setup: Setup, max: number): Promise<ChaosStore> {
  const { postgresStore } = await import('holdfast/postgres');
  const sockets = new Set<Socket>();
  const pool = new pg.Pool({
    stream() {
      const socket = new Socket();
      sockets.add(socket);
      return socket.once('close', () => sockets.delete(socket));
    },
    connectionString: setup.postgresUrl,
    max,
    connectionTimeoutMillis: 5_000,
    query_timeout: 8_000,
    statement_timeout: 8_000,
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
  });
  pool.on('error', () => undefined);
  const store = postgresStore<pg.PoolClient>({ pool, source: 'chaos' });
  const sabotage = sabotageOf(setup.sabotage);
  return {
    store,
    outbox: sabotage.outbox?.(store.outbox) ?? store.outbox,
    inbox: sabotage.inbox?.(store.inbox, store.outbox) ?? store.inbox,
    async close() {
      await store.close();
      await pool.end();
      // node-postgres says goodbye and waits: over a connection that has died it would keep this process for ever.
      for (const socket of sockets) socket.destroy();
    },
  };
}
