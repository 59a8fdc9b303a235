/** Where business rows, outbox, inbox and effects are: one database, SQLite's or PostgreSQL's. */

import type { DatabaseSync } from 'node:sqlite';
import type { Store } from 'holdfast';
import type { Setup } from './setup.ts';

export type Value = string | number;
export type Row = Readonly<Record<string, unknown>>;

export interface DemoStore {
  readonly store: Store<unknown>;
  /** One statement of ours inside one of the store's transactions; `?` are its values. */
  run(tx: unknown, statement: string, values: readonly Value[]): Promise<void>;
  /** One statement outside of them, by the database's own client. */
  query(statement: string): Promise<readonly Row[]>;
  /** The outbox's rows, those that were parked among them. */
  readonly outboxTables: readonly string[];
  close(): Promise<void>;
}

/** The demo's own tables, beside the store's. Ids of effects are not unique: a message that takes effect twice must show. */
const TABLES = [
  'create table flights (seq integer primary key, origin text not null, delay integer not null, distance integer not null)',
  'create table effects (id text not null)',
  `create table totals (origin text primary key, flights integer not null, delay integer not null,
     distance integer not null)`,
];

export async function createTables({ store, query }: DemoStore): Promise<void> {
  await store.migrate();
  for (const table of TABLES) await query(table);
}

export async function openStore(setup: Setup): Promise<DemoStore> {
  return setup.broker === 'sqlite' ? openSqlite(setup.storeUrl) : openPostgres(setup.storeUrl);
}

async function openSqlite(path: string): Promise<DemoStore> {
  const { DatabaseSync } = await import('node:sqlite');
  const { sqliteStore } = await import('holdfast/sqlite');
  const store = sqliteStore({ path, source: 'flights' });
  let own: DatabaseSync | undefined;
  return {
    store,
    async run(tx, statement, values) {
      (tx as DatabaseSync).prepare(statement).run(...values);
    },
    async query(statement) {
      own ??= new DatabaseSync(path, { timeout: 5_000 });
      return own.prepare(statement).all();
    },
    outboxTables: ['holdfast_outbox', 'holdfast_outbox_parked'],
    async close() {
      await store.close();
      own?.close();
    },
  };
}

async function openPostgres(url: string): Promise<DemoStore> {
  const { default: pg } = await import('pg');
  const { postgresStore } = await import('holdfast/postgres');
  const pool = new pg.Pool({ connectionString: url });
  // An idle connection that breaks says so here; whoever needs one gets another.
  pool.on('error', () => undefined);
  const store = postgresStore<import('pg').PoolClient>({ pool, source: 'flights' });
  return {
    store,
    async run(tx, statement, values) {
      await (tx as import('pg').PoolClient).query(numbered(statement), [...values]);
    },
    query: async (statement) => (await pool.query<Row>(statement)).rows,
    outboxTables: ['holdfast.outbox', 'holdfast.outbox_parked'],
    async close() {
      await store.close();
      await pool.end();
    },
  };
}

/** `?` to `$1`, `$2` … */
function numbered(statement: string): string {
  let count = 0;
  return statement.replaceAll('?', () => `$${++count}`);
}
