import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { type PgTransaction, type PostgresStoreOptions, postgresStore } from '../../adapters/postgres/index.ts';
import { namesOf } from '../../adapters/postgres/names.ts';
import { readStatement } from '../../adapters/postgres/relay-statements.ts';
import type { Store } from '../../src/port.ts';
import { added, gate, readAll, topicOf, until } from '../conformance/store-fixtures.ts';
import { inboxStoreSuite, outboxStoreSuite, type StoreUnderTest } from '../conformance/store-suite.ts';

const connectionString = process.env.HOLDFAST_POSTGRES_URL;
const admin = new pg.Pool({ connectionString, max: 2 });
afterAll(() => admin.end());

interface Opened extends StoreUnderTest<pg.PoolClient> {
  readonly pool: pg.Pool;
  readonly schema: string;
}

async function open(
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

describe('postgres store: outbox', () => outboxStoreSuite({ it, open: () => open() }));
describe('postgres store: inbox', () => inboxStoreSuite({ it, open: () => open() }));

describe('postgres store', () => {
  async function withStore(
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
  const claim = (identity: string) => ({ group: 'billing', topic: 'orders.placed', identity });
  const never = (): AbortSignal => new AbortController().signal;
  const pidOf = async (tx: PgTransaction): Promise<number> => {
    const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    return rows[0]!.pid;
  };
  const kill = (pid: number) => admin.query('SELECT pg_terminate_backend($1)', [pid]);

  it('writes by a transaction of the caller, and publishes nothing if that rolls back', () =>
    withStore(async ({ store, pool, schema }) => {
      const client = await pool.connect();
      const topic = topicOf();
      for (const [id, end] of [
        ['dropped', 'ROLLBACK'],
        ['kept', 'COMMIT'],
      ] as const) {
        await client.query('BEGIN');
        await store.outbox.add(client, topic, { id });
        await client.query(end);
      }
      await client.query('BEGIN');
      await client.query('SAVEPOINT before');
      await store.outbox.add(client, topicOf(), { id: 'of a shape that was rolled back' });
      await client.query('ROLLBACK TO before');
      await client.query('COMMIT');
      client.release();
      expect((await readAll(store)).ids).toEqual(['kept']);
      const { rows } = await admin.query(`SELECT FROM "${schema}".outbox_shapes`);
      expect(rows).toHaveLength(1);
    }));

  it('wakes relays soon after a commit that it was not told of', () =>
    withStore(async ({ store, pool }) => {
      let calls = 0;
      store.outbox.relay.onWake(() => {
        calls++;
      });
      const client = await pool.connect();
      await store.outbox.add(client, topicOf(), {});
      client.release();
      await until('it was woken', () => calls > 0);
    }));

  it('S32: two first users of a shape do not wait for each other, and the relay reads both', () =>
    withStore(async ({ store, other }) => {
      const topic = topicOf();
      await store.outbox.transaction(async (tx) => {
        await store.outbox.add(tx, topic, { id: 'first' });
        await added(other, topic, { id: 'second' });
      });
      expect((await readAll(store)).ids).toEqual(['first', 'second']);
    }));

  it('P1: reads a row whose id is lower than that of one it read before', () =>
    withStore(async ({ store, other }) => {
      const topic = topicOf();
      await store.outbox.transaction(async (tx) => {
        await store.outbox.add(tx, topic, { id: 'slow' });
        await added(other, topic, { id: 'quick' });
        const { leases, rows } = await readAll(other);
        expect(rows.map(({ id }) => id)).toEqual(['quick']);
        await other.outbox.relay.settle(leases, [{ rowId: rows[0]!.rowId, shard: rows[0]!.shard, kind: 'sent' }]);
      });
      expect((await readAll(other)).ids).toEqual(['slow']);
    }));

  it('keeps a parked message whole, with its reason', () =>
    withStore(async ({ store, schema }) => {
      await added(store, topicOf(), { id: 'm', key: 'k', body: Buffer.from('body'), headers: { a: 'b' } });
      const { leases, rows } = await readAll(store);
      const [row] = rows;
      const verdict = { rowId: row!.rowId, shard: row!.shard, kind: 'park', reason: 'unroutable' } as const;
      await store.outbox.relay.settle(leases, [verdict]);
      const parked = await admin.query(`SELECT message_id, key, body, headers, reason FROM "${schema}".outbox_parked`);
      expect(parked.rows).toEqual([
        { message_id: 'm', key: 'k', body: Buffer.from('body'), headers: { a: 'b' }, reason: 'unroutable' },
      ]);
    }));

  it('rolls back, and goes on, when the connection is killed in the middle', () =>
    withStore(async ({ store, write, written }) => {
      const broken = store.outbox.transaction(async (tx) => {
        await write(tx, 'lost');
        await store.outbox.add(tx, topicOf(), {});
        await kill(await pidOf(tx));
        await write(tx, 'never');
      });
      await expect(broken).rejects.toThrow(/terminat|connection/i);
      const handled = store.inbox.run([claim('m')], never(), async (tx) => {
        await write(tx, 'lost');
        await kill(await pidOf(tx));
        await until('the client knows', async () => {
          await tx.query('SELECT');
          return false;
        });
      });
      await expect(handled).rejects.toThrow(/terminat|connection/i);
      expect(await written()).toEqual([]);
      expect((await readAll(store)).ids).toEqual([]);
      expect(await store.inbox.run([claim('m')], never(), async (tx) => write(tx, 'kept'))).toEqual([0]);
      expect(await written()).toEqual(['kept']);
    }));

  it('says that the outcome is unknown when the reply to COMMIT is lost', () =>
    withStore(async ({ store, pool }) => {
      const failing = store.outbox.transaction(async (tx) => {
        await store.outbox.add(tx, topicOf(), {});
        const pid = await pidOf(tx);
        const [client] = (pool as unknown as { _clients: readonly pg.PoolClient[] })._clients;
        const query = client!.query.bind(client!) as (...values: unknown[]) => unknown;
        Object.assign(client!, {
          query: async (...values: unknown[]) => {
            if (values[0] === 'COMMIT') await kill(pid);
            return await query(...values);
          },
        });
      });
      await expect(failing).rejects.toMatchObject({ outcome: 'unknown' });
    }));

  it('rejects when a failed statement was caught, since COMMIT then rolls back', () =>
    withStore(async ({ store }) => {
      const swallowing = store.outbox.transaction(async (tx) => {
        await store.outbox.add(tx, topicOf(), {});
        await tx.query('SELECT 1 / 0').catch(() => undefined);
      });
      await expect(swallowing).rejects.toThrow('rolled back at COMMIT');
      const handling = store.inbox.run([claim('m')], never(), async (tx) => {
        await tx.query('SELECT 1 / 0').catch(() => undefined);
      });
      await expect(handling).rejects.toThrow('rolled back at COMMIT');
      expect(await store.inbox.seen([claim('m')])).toEqual([false]);
    }));

  it('S24: an aborted statement is ended on the server, its locks go, and its connection is never used again', () =>
    withStore(async ({ store, pool, write }) => {
      const abort = new AbortController();
      let pid = 0;
      const sleeping = store.inbox.run([claim('m')], abort.signal, async (tx) => {
        pid = await pidOf(tx);
        await write(tx, 'lost');
        setTimeout(() => abort.abort(new Error('timed out')), 20);
        await tx.query('SELECT pg_sleep(600)');
      });
      await expect(sleeping).rejects.toThrow('timed out');
      // Waits at the claim for as long as the first still holds it.
      expect(await store.inbox.run([claim('m')], never(), async () => undefined)).toEqual([0]);
      const { rows } = await admin.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid]);
      expect(rows).toEqual([]);
      expect(pool.totalCount).toBeLessThanOrEqual(4);
    }));

  it('leaves a transaction to the store: no release, no end', () =>
    withStore(async ({ store }) => {
      await store.outbox.transaction(async (tx) => {
        expect(() => tx.release()).toThrow(TypeError);
        expect(await pidOf(tx)).toBeGreaterThan(0);
      });
    }));

  it('S25: leaves one connection of the pool to others, however many handlers wait', () =>
    withStore(
      async ({ store, pool }) => {
        expect(store.inbox.maxTransactions).toBe(2);
        const hold = gate();
        const runs = Array.from({ length: 9 }, (_, index) =>
          store.inbox.run([claim(`m-${index}`)], never(), () => hold.opened),
        );
        expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
        hold.open();
        expect((await Promise.all(runs)).flat()).toHaveLength(9);
      },
      { max: 3 },
    ));

  it('an abort while it waits for a connection rejects with the reason and leaks none', () =>
    withStore(
      async ({ store, pool }) => {
        const taken = [await pool.connect(), await pool.connect()];
        const abort = new AbortController();
        const waiting = store.inbox.run([claim('m')], abort.signal, async () => undefined);
        await until('it waits', () => pool.waitingCount === 1);
        abort.abort(new Error('closing'));
        await expect(waiting).rejects.toThrow('closing');
        for (const client of taken) client.release();
        await until('all are back', () => pool.idleCount === 2 && pool.waitingCount === 0);
        expect(await store.inbox.run([claim('m')], never(), async () => undefined)).toEqual([0]);
      },
      { max: 2 },
    ));

  it('outlives idle connections of the pool that break', () =>
    withStore(async ({ store, pool }) => {
      await added(store, topicOf(), { id: 'a' });
      const { rows } = await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await kill(rows[0]!.pid);
      await until('the pool noticed', () => pool.totalCount === 0);
      expect((await readAll(store)).ids).toEqual(['a']);
    }));

  it('works with a pool of one connection', () =>
    withStore(
      async ({ store }) => {
        expect(store.inbox.maxTransactions).toBe(1);
        await added(store, topicOf(), { id: 'a' });
        expect(await store.inbox.run([claim('m')], never(), async () => undefined)).toEqual([0]);
        expect((await readAll(store)).ids).toEqual(['a']);
      },
      { max: 1 },
    ));

  it('claims right whatever the default isolation of the database is', () =>
    withStore(async ({ store, other, schema }) => {
      const pools = new pg.Pool({
        connectionString,
        max: 3,
        options: '-c default_transaction_isolation=serializable',
      });
      const strict = postgresStore({ pool: pools, schema });
      const hold = gate();
      const started = gate();
      const first = store.inbox.run([claim('m')], never(), async () => {
        started.open();
        await hold.opened;
      });
      await started.opened;
      const second = strict.inbox.run([claim('m')], never(), async () => undefined);
      await until('the second waits', async () => {
        const { rows } = await admin.query(
          `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1`,
          [`%${schema}%`],
        );
        return rows.length > 0;
      });
      hold.open();
      expect(await Promise.all([first, second])).toEqual([[0], []]);
      await strict.close();
      await pools.end();
      void other;
    }));

  it('listens again after its connection was lost', () =>
    withStore(async ({ store, other }) => {
      let calls = 0;
      other.outbox.relay.onWake(() => {
        calls++;
      });
      const heard = async (): Promise<void> => {
        const before = calls;
        await until('it was woken', async () => {
          await added(store, topicOf(), {});
          return calls > before;
        });
      };
      await heard();
      const { rows } = await admin.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN "holdfast_%' AND pg_terminate_backend(pid)`,
      );
      expect(rows.length).toBeGreaterThan(0);
      await heard();
    }));

  it('migrates from nothing by four processes at once', async () => {
    const schema = `test_${randomBytes(6).toString('hex')}`;
    const pools = Array.from({ length: 4 }, () => new pg.Pool({ connectionString, max: 2 }));
    const stores = pools.map((pool) => postgresStore({ pool, schema, prefix: 'hf_' }));
    await Promise.all(stores.map((store) => store.migrate()));
    await added(stores[0]!, topicOf(), { id: 'a' });
    expect((await readAll(stores[3]!)).ids).toEqual(['a']);
    for (const store of stores) await store.close();
    for (const pool of pools) await pool.end();
    await admin.query(`DROP SCHEMA "${schema}" CASCADE`);
  });

  it('says what to do when it is used before migrate()', async () => {
    const pool = new pg.Pool({ connectionString, max: 2 });
    const store = postgresStore({ pool, schema: 'test_never_made' });
    await expect(added(store, topicOf(), {})).rejects.toThrow('store.migrate()');
    await expect(store.outbox.relay.lease('a', 1000)).rejects.toThrow('store.migrate()');
    await expect(store.inbox.run([claim('m')], never(), async () => undefined)).rejects.toThrow('store.migrate()');
    await expect(store.inbox.seen([claim('m')])).rejects.toThrow('store.migrate()');
    await store.close();
    await pool.end();
  });

  it('refuses wrong options at construction, naming them', () => {
    const pool = admin;
    const make = (options: unknown) => () => postgresStore(options as PostgresStoreOptions);
    expect(make({ pool, shema: 'x' })).toThrow(/unknown option "shema".*did you mean "schema"/);
    expect(make({ pool: {} })).toThrow(/"pool" must be a Pool/);
    expect(make({ pool, schema: 'Robert"; DROP' })).toThrow(/"schema" must match/);
    expect(make({ pool, prefix: '1' })).toThrow(/"prefix" must/);
    expect(make({ pool, source: '' })).toThrow(/"source" must/);
    expect(make({ pool, notify: 'yes' })).toThrow(/"notify" must/);
    expect(make(undefined)).toThrow(TypeError);
  });

  it('reads a large backlog along the index: no more than a few milliseconds of the server', () =>
    withStore(async ({ store, schema }) => {
      await added(store, topicOf('big'), {});
      await admin.query(
        `INSERT INTO "${schema}".outbox (shard, source, shape, topic, message_id, key, lane, content_type, body, delay_ms)
         SELECT n % 64, 's', shape, 'big', 'm-' || n, 'k-' || n, 'normal', 't', '\\x00', 0
         FROM generate_series(1, 30000) AS n, "${schema}".outbox`,
      );
      const leases = await store.outbox.relay.lease('a', 60_000);
      const statement = readStatement(namesOf(schema, ''));
      const { rows } = await admin.query<{ 'QUERY PLAN': string }>(`EXPLAIN ANALYZE ${statement}`, [
        leases.map(({ shard }) => shard),
        leases.map(({ epoch }) => epoch),
        10,
        100,
      ]);
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
      expect(plan).toContain('outbox_pkey');
      expect(plan).not.toContain('Seq Scan on outbox due');
      expect(await store.outbox.relay.pending()).toMatchObject({ due: true });
    }));
});
