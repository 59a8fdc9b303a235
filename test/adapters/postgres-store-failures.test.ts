import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { postgresStore } from '../../adapters/postgres/index.ts';
import { added, gate, readAll, topicOf, until } from '../conformance/store-fixtures.ts';
import { admin, claim, connectionString, kill, never, pidOf, withStore } from './postgres-store-fixture.ts';

afterAll(() => admin.end());

describe('postgres store: what may go wrong', () => {
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

  it('a release whose connection is killed in the middle is done again: each message is there once', () =>
    withStore(async ({ store, schema }) => {
      await added(store, topicOf(), { id: 'a', key: 'k' }, { id: 'b', key: 'k' });
      const { leases, rows } = await readAll(store);
      const verdicts = rows.map(({ rowId, shard }) => ({ rowId, shard, kind: 'park', reason: 'unroutable' }) as const);
      await store.outbox.relay.settle(leases, verdicts);
      const lock = await admin.connect();
      const waiting = async (): Promise<number | undefined> => {
        const found = await lock.query<{ pid: number }>(
          `SELECT pid FROM pg_locks WHERE NOT granted AND relation = '"${schema}".outbox'::regclass`,
        );
        return found.rows[0]?.pid;
      };
      let releasing: Promise<unknown> | undefined;
      try {
        await lock.query(`BEGIN; LOCK TABLE "${schema}".outbox IN SHARE MODE`);
        releasing = store.outbox.parked.release().catch((error: unknown) => error);
        let pid: number | undefined;
        await until('it waits', async () => {
          pid = await waiting();
          return pid !== undefined;
        });
        await kill(pid!);
        await until(
          'it waits again, on another connection',
          async () => ![undefined, pid].includes(await waiting()),
          5_000,
        );
        const parked = await lock.query(`SELECT FROM "${schema}".outbox_parked`);
        expect(parked.rows).toHaveLength(2);
      } finally {
        await lock.query('COMMIT');
        lock.release();
      }
      expect(await releasing).toEqual({ released: 2 });
      expect((await readAll(store)).ids).toEqual(['a', 'b']);
    }));

  it('a release that fails in the middle leaves each message parked or waiting, and another goes on', () =>
    withStore(async ({ store, schema }) => {
      const ids = Array.from({ length: 150 }, (_, index) => `m-${index}`);
      await added(store, topicOf(), ...ids.map((id) => ({ id })));
      const { leases, rows } = await readAll(store);
      const verdicts = rows.map(({ rowId, shard }) => ({ rowId, shard, kind: 'park', reason: 'unroutable' }) as const);
      await store.outbox.relay.settle(leases, verdicts);
      const outbox = `"${schema}".outbox`;
      await admin.query(`ALTER TABLE ${outbox} ADD CONSTRAINT broken CHECK (message_id <> 'm-120')  NOT VALID`);
      await expect(store.outbox.parked.release()).rejects.toThrow('broken');
      expect((await readAll(store)).ids).toEqual(ids.slice(0, 100));
      const left = await admin.query(
        `SELECT message_id AS id FROM "${schema}".outbox_parked ORDER BY outbox_parked.id`,
      );
      expect(left.rows.map(({ id }) => id)).toEqual(ids.slice(100));
      await admin.query(`ALTER TABLE ${outbox} DROP CONSTRAINT broken`);
      expect(await store.outbox.parked.release()).toEqual({ released: 50 });
      expect((await readAll(store)).ids).toEqual(ids);
    }));

  it('those who release at once above READ COMMITTED share the messages, too', async () => {
    const max = 2;
    const options = { connectionString, max, options: '-c default_transaction_isolation=serializable' };
    await withStore(async ({ store, schema }) => {
      const ids = Array.from({ length: 300 }, (_, index) => `m-${index}`);
      await added(store, topicOf(), ...ids.map((id) => ({ id })));
      const { leases, rows } = await readAll(store);
      const verdicts = rows.map(({ rowId, shard }) => ({ rowId, shard, kind: 'park', reason: 'unroutable' }) as const);
      await store.outbox.relay.settle(leases, verdicts);
      const pools = [new pg.Pool(options), new pg.Pool(options)];
      const strict = pools.map((pool) => postgresStore({ pool, schema }));
      const released = await Promise.all(strict.map(({ outbox }) => outbox.parked.release()));
      expect(released[0]!.released + released[1]!.released).toBe(300);
      expect((await readAll(store)).ids).toEqual(ids);
      for (const each of strict) await each.close();
      for (const pool of pools) await pool.end();
    });
  });

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
      const noticed = new Promise<unknown>((resolve) => pool.once('remove', resolve));
      await kill(rows[0]!.pid);
      await noticed;
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
});
