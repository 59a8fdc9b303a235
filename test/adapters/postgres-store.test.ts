import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { type PostgresStoreOptions, postgresStore } from '../../adapters/postgres/index.ts';
import { namesOf } from '../../adapters/postgres/names.ts';
import { readStatement } from '../../adapters/postgres/relay-statements.ts';
import { added, readAll, topicOf, until } from '../conformance/store-fixtures.ts';
import { inboxStoreSuite, outboxStoreSuite, spillStoreSuite } from '../conformance/store-suite.ts';
import { admin, claim, connectionString, never, open, pidOf, withStore } from './postgres-store-fixture.ts';

afterAll(() => admin.end());

describe('postgres store: outbox', () => outboxStoreSuite({ it, open: () => open() }));
describe('postgres store: inbox', () => inboxStoreSuite({ it, open: () => open() }));
describe('postgres store: spill', () => spillStoreSuite({ it, open: () => open() }));

describe('postgres store', () => {
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

  it('leaves a transaction to the store: no release, no end', () =>
    withStore(async ({ store }) => {
      await store.outbox.transaction(async (tx) => {
        expect(() => tx.release()).toThrow(TypeError);
        expect(await pidOf(tx)).toBeGreaterThan(0);
      });
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

  it('reads a large backlog along the index', () =>
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
