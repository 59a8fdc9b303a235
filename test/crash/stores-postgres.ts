import pg from 'pg';
import { postgresDedupe, postgresStore } from '../../adapters/postgres/index.ts';
import type { PgTransaction } from '../../adapters/postgres/pool.ts';
import type { Case } from './case.ts';
import { type Evidence, NOTHING, type Stores } from './stores.ts';

/** Room for a lane's handlers, the relay and the operator; cases run beside each other on one server. */
const CONNECTIONS = 6;

/** A schema of the server for each case. */
const schemaOf = ({ topic }: Case): string => topic.replaceAll('-', '_');
/** Nothing here is unique: an effect that happens twice must show. */
const tablesIn = (schema: string): string => `
  CREATE TABLE IF NOT EXISTS ${schema}.effects (
    at bigserial, n integer NOT NULL, edited boolean NOT NULL, by text NOT NULL
  );
  CREATE TABLE IF NOT EXISTS ${schema}.business (n integer NOT NULL)`;

export async function openPostgres(what: Case, crashPoint: (name: string) => void): Promise<Stores> {
  const schema = schemaOf(what);
  const pool = poolOf(what);
  pool.on('connect', (client) => dieBehind(client, crashPoint));
  const store = postgresStore({ pool, source: 'crash', schema });
  const spill = postgresStore({ pool, source: 'crash', schema, prefix: 'spill_' });
  const dedupe = postgresDedupe({ pool, schema, claimMs: 1_000 });
  await store.migrate();
  if (what.route === 'spill') await spill.migrate();
  if (what.workload === 'dedupe') await dedupe.migrate();
  await pool.query(tablesIn(schema));
  return {
    store,
    spill,
    dedupe,
    async effect(tx, { n, edited }, by) {
      const insert = `INSERT INTO ${schema}.effects (n, edited, by) VALUES ($1, $2, $3)`;
      await (tx as PgTransaction).query(insert, [n, edited, by]);
    },
    async business(tx, n) {
      await (tx as PgTransaction).query(`INSERT INTO ${schema}.business (n) VALUES ($1)`, [n]);
    },
    read: () => evidenceOf(pool, schema),
    async close() {
      await Promise.all([store.close(), spill.close(), dedupe.close()]);
      await pool.end();
    },
  };
}

export async function readPostgres(what: Case): Promise<Evidence> {
  return await withPool(what, async (pool) => {
    const { rows } = await pool.query("SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'business'", [
      schemaOf(what),
    ]);
    return rows.length === 0 ? NOTHING : evidenceOf(pool, schemaOf(what));
  });
}

export async function dropPostgres(what: Case): Promise<void> {
  await withPool(what, (pool) => pool.query(`DROP SCHEMA IF EXISTS ${schemaOf(what)} CASCADE`));
}

/**
 * A store that lives on a server has, between two of its own steps, only this to wait for: what it has asked, and not
 * heard of. The server carries that out for the dead, or not.
 */
function dieBehind(client: pg.PoolClient, crashPoint: (name: string) => void): void {
  const query = client.query.bind(client) as (...values: unknown[]) => unknown;
  const watched = (...values: unknown[]): unknown => {
    const text = typeof values[0] === 'string' ? values[0] : '';
    const answer = query(...values);
    if (/^\s*CREATE /.test(text)) crashPoint('postgres:migrating');
    else if (text === 'COMMIT') crashPoint('postgres:committing');
    else if (/INSERT INTO "\w+"\."inbox"/.test(text)) crashPoint('postgres:claiming');
    else if (/INTO "\w+"\."(spill_)?outbox" /.test(text)) crashPoint('postgres:adding');
    else if (/INSERT INTO "\w+"\."(spill_)?outbox_relays"/.test(text)) crashPoint('postgres:leasing');
    else if (/DELETE FROM "\w+"\."(spill_)?outbox" /.test(text)) crashPoint('postgres:settling');
    else if (/"halted_keys"|"halted_messages"/.test(text)) crashPoint('postgres:halting');
    else if (/INTO "\w+"\."dedupe"/.test(text)) crashPoint('postgres:remembering');
    return answer;
  };
  client.query = watched as typeof client.query;
}

function poolOf({ storeUrl }: Case): pg.Pool {
  const pool = new pg.Pool({ connectionString: storeUrl, max: CONNECTIONS });
  pool.on('error', () => undefined);
  return pool;
}

async function withPool<R>(what: Case, work: (pool: pg.Pool) => Promise<R>): Promise<R> {
  const pool = poolOf(what);
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}

async function evidenceOf(pool: pg.Pool, schema: string): Promise<Evidence> {
  const effects = await pool.query<{ n: number; edited: boolean }>(
    `SELECT n, edited FROM ${schema}.effects ORDER BY at`,
  );
  const business = await pool.query<{ n: number }>(`SELECT n FROM ${schema}.business`);
  return { effects: effects.rows, business: business.rows.map(({ n }) => n) };
}
