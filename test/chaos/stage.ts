/** Broker and database of our own, each behind a proxy that fails as networks do, and the ledger's folder. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type Proxied, startProxied } from '../fleet/proxied.ts';
import type { Arguments } from './args.ts';
import { type Crew, createCrew } from './crew.ts';
import { type LedgerFile, openLedger } from './ledger-file.ts';
import { DELAYS, SHORT_DELAYS } from './patience.ts';
import type { ServerTarget } from './plan.ts';
import { scenarioOf } from './scenario.ts';
import { openStore, type Setup } from './setup.ts';
import { ACCOUNTS, OPENING_BALANCE } from './topics.ts';

export interface Stage {
  readonly setup: Setup;
  readonly servers: Readonly<Record<ServerTarget, Proxied>>;
  readonly ledger: LedgerFile;
  readonly crew: Crew;
  /** Past the proxy. */
  readonly query: (statement: string) => Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/** Effects have no unique ids: a message that takes effect twice must show. */
const TABLES = `
  create schema chaos;
  create table chaos.business (id text not null, key text not null, seq integer not null);
  create table chaos.effects (ord bigserial, id text not null, grp text not null, key text, seq integer, proc text,
    xid xid8 not null default pg_current_xact_id());
  create table chaos.accounts (id integer primary key, balance bigint not null);
  insert into chaos.accounts select id, ${OPENING_BALANCE} from generate_series(0, ${ACCOUNTS - 1}) id`;

export async function openStage({ broker, keep, scenario, sabotage }: Arguments): Promise<Stage> {
  const endings: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const end of endings.splice(0).reverse()) await end();
  };
  try {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-chaos-'));
    endings.push(() => (keep ? console.log(`kept ${directory}`) : rm(directory, { recursive: true })));
    const started = await Promise.allSettled([startProxied(broker, 1), startProxied('postgres', 1)]);
    for (const server of started) if (server.status === 'fulfilled') endings.push(server.value.stop);
    const failed = started.find((server) => server.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const [one, other] = started.map((server) => (server as PromiseFulfilledResult<Proxied>).value);
    const servers = { broker: one!, postgres: other! };
    const setup: Setup = {
      broker,
      brokerUrl: one!.proxies[0]!.url,
      postgresUrl: other!.proxies[0]!.url,
      directory,
      delays: scenario === undefined ? DELAYS : SHORT_DELAYS,
      consumersLate: scenario !== undefined && scenarioOf(scenario).consumersLate === true,
      sabotage,
    };
    const books = await openStore({ ...setup, postgresUrl: other!.server.url }, 2);
    await books.store.migrate();
    await books.close();
    const query = queryAt(other!.server.url);
    await query(TABLES);
    const ledger = openLedger(directory, 'supervisor');
    endings.push(ledger.close);
    const crew = createCrew(setup, ledger);
    endings.push(crew.abandon);
    return { setup, servers, ledger, crew, query, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A connection per question: whatever happened to the server since the last one, this has nothing to do with it. */
function queryAt(connectionString: string): Stage['query'] {
  return async (statement) => {
    const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5_000, query_timeout: 60_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query<Record<string, unknown>>(statement)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  };
}
