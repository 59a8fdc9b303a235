import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type PgTransaction, type PostgresStoreOptions, postgresStore } from '../../adapters/postgres/index.ts';
import type { InboxClaim, Store } from '../../src/port.ts';
import type { StoreUnderTest } from '../conformance/store-suite.ts';

export const connectionString: string | undefined = process.env.HOLDFAST_POSTGRES_URL;
/** Beside the pools of the stores: looks at their data and kills their connections. */
export const admin: pg.Pool = new pg.Pool({ connectionString, max: 2 });

export interface Opened extends StoreUnderTest<pg.PoolClient> {
  readonly pool: pg.Pool;
  readonly schema: string;
}

export async function open(
  options: { readonly max?: number; readonly more?: Partial<PostgresStoreOptions> } = {},
): Promise<Opened> {
  const schema = `test_${randomBytes(6).toString('hex')}`;
  const pools = [options.max ?? 4, 4].map((max) => new pg.Pool({ connectionString, max }));
  const [store, other] = pools.map((pool): Store<pg.PoolClient> => postgresStore({ pool, schema, ...options.more }));
  const [pool] = pools;
  await store!.migrate();
  await admin.query(`CREATE TABLE "${schema}".written (id bigserial, text text)`);
  return {
    pool: pool!,
    schema,
    store: store!,
    other: other!,
    async write(tx, text) {
      await tx.query(`INSERT INTO "${schema}".written (text) VALUES ($1)`, [text]);
    },
    async written() {
      const { rows } = await admin.query<{ text: string }>(`SELECT text FROM "${schema}".written ORDER BY id`);
      return rows.map(({ text }) => text);
    },
    async close() {
      await store!.close();
      await other!.close();
      for (const each of pools) await each.end();
      await admin.query(`DROP SCHEMA "${schema}" CASCADE`);
    },
  };
}

export async function withStore(
  run: (opened: Opened) => Promise<void>,
  options: Parameters<typeof open>[0] = {},
): Promise<void> {
  const opened = await open(options);
  try {
    await run(opened);
  } finally {
    await opened.close();
  }
}
export const claim = (identity: string): InboxClaim => ({ group: 'billing', topic: 'orders.placed', identity });
export const never = (): AbortSignal => new AbortController().signal;
export const pidOf = async (tx: PgTransaction): Promise<number> => {
  const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]!.pid;
};
export async function kill(pid: number): Promise<void> {
  await admin.query('SELECT pg_terminate_backend($1)', [pid]);
}
