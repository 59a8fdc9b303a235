import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { sqlite } from '../../adapters/sqlite/index.ts';
import { type SqliteStoreOptions, sqliteStore } from '../../adapters/sqlite/store.ts';
import { connect, createRelay, defineTopic } from '../../src/index.ts';
import { added, gate, readAll, topicOf, until } from '../conformance/store-fixtures.ts';
import { inboxStoreSuite, outboxStoreSuite, type StoreUnderTest, spillStoreSuite } from '../conformance/store-suite.ts';

interface Opened extends StoreUnderTest<DatabaseSync> {
  readonly path: string;
  /** A handle of the user's own. */
  readonly handle: DatabaseSync;
}

async function open(more: Partial<SqliteStoreOptions> = {}): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-store-'));
  const path = join(folder, 'app.db');
  const store = sqliteStore({ path, ...more });
  const other = sqliteStore({ path, ...more });
  await store.migrate();
  const handle = new DatabaseSync(path);
  handle.exec('CREATE TABLE written (id INTEGER PRIMARY KEY, text TEXT)');
  return {
    path,
    handle,
    store,
    other,
    write(tx, text) {
      tx.prepare('INSERT INTO written (text) VALUES (?)').run(text);
    },
    async written() {
      return handle
        .prepare('SELECT text FROM written ORDER BY id')
        .all()
        .map((row) => String(row.text));
    },
    async close() {
      await store.close();
      await other.close();
      handle.close();
      await rm(folder, { recursive: true });
    },
  };
}

describe('sqlite store: outbox', () => outboxStoreSuite({ it, open: () => open() }));
describe('sqlite store: inbox', () => inboxStoreSuite({ it, open: () => open() }));
describe('sqlite store: spill', () => spillStoreSuite({ it, open: () => open() }));

describe('sqlite store', () => {
  async function withStore(
    run: (opened: Opened) => Promise<void>,
    more: Partial<SqliteStoreOptions> = {},
  ): Promise<void> {
    const opened = await open(more);
    try {
      await run(opened);
    } finally {
      await opened.close();
    }
  }
  const claim = (identity: string) => ({ group: 'billing', topic: 'orders.placed', identity });
  const never = (): AbortSignal => new AbortController().signal;

  it("writes by the caller's own handle, publishes nothing if that rolls back, and wakes the relay when it commits", () =>
    withStore(async ({ store, handle }) => {
      const topic = topicOf();
      let calls = 0;
      store.outbox.relay.onWake(() => {
        calls++;
      });
      for (const [id, end] of [
        ['dropped', 'ROLLBACK'],
        ['kept', 'COMMIT'],
      ] as const) {
        handle.exec('BEGIN IMMEDIATE');
        await store.outbox.addAll(handle, topic, [{ id }, {}]);
        handle.exec(end);
      }
      await until('it was woken', () => calls > 0);
      expect((await readAll(store)).ids).toEqual(['kept', expect.anything()]);
    }));

  it('S34: transactions of one handle run one at a time, in the order in which they were asked for', () =>
    withStore(async ({ store }) => {
      let running = 0;
      const order: number[] = [];
      const all = Array.from({ length: 10 }, (_, index) =>
        store.outbox.transaction(async (tx) => {
          expect(++running).toBe(1);
          await new Promise(setImmediate);
          await store.outbox.add(tx, topicOf(), {});
          order.push(index);
          running--;
        }),
      );
      await Promise.all(all);
      expect(order).toEqual([...order].sort((a, b) => a - b));
    }));

  it('S34: waits for a lock that others hold without blocking the event loop', () =>
    withStore(async ({ store, handle }) => {
      handle.exec('BEGIN IMMEDIATE');
      const waiting = added(store, topicOf(), { id: 'patient' });
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      handle.exec('COMMIT');
      expect(await waiting).toEqual(['patient']);
    }));

  it('gives up after busyTimeoutMs, having written nothing, and says why', () =>
    withStore(
      async ({ store, handle }) => {
        handle.exec('BEGIN IMMEDIATE');
        const refused = added(store, topicOf(), {});
        await expect(refused).rejects.toMatchObject({ adapterCode: 'busy' });
        await expect(refused).rejects.toThrow('held by others');
        handle.exec('COMMIT');
        expect(await added(store, topicOf(), { id: 'a' })).toEqual(['a']);
      },
      { busyTimeoutMs: 30 },
    ));

  it('an abort while it waits for the lock rejects with the reason', () =>
    withStore(async ({ store, handle }) => {
      handle.exec('BEGIN IMMEDIATE');
      const abort = new AbortController();
      const waiting = store.inbox.run([claim('m')], abort.signal, async () => undefined);
      abort.abort(new Error('closing'));
      await expect(waiting).rejects.toThrow('closing');
      handle.exec('COMMIT');
      expect(await store.inbox.run([claim('m')], never(), async () => undefined)).toEqual([0]);
    }));

  it('S24: statements and iterators that a transaction leaves behind are dead, and hold up no later one', () =>
    withStore(async ({ store, other, write, written }) => {
      let insert: ReturnType<DatabaseSync['prepare']> | undefined;
      let rows: Iterator<unknown> | undefined;
      await store.outbox.transaction(async (tx) => {
        await write(tx, 'a');
        await write(tx, 'b');
        insert = tx.prepare('INSERT INTO written (text) VALUES (?)');
        rows = tx.prepare('SELECT * FROM written').iterate();
        expect(rows.next().done).toBe(false);
      });
      expect(() => insert!.run('late')).toThrow(expect.objectContaining({ name: 'TransactionRevoked' }));
      expect(() => rows!.next()).toThrow(expect.objectContaining({ name: 'TransactionRevoked' }));
      await other.outbox.transaction(async (tx) => write(tx, 'c'));
      await store.outbox.transaction(async (tx) => write(tx, 'd'));
      expect(await written()).toEqual(['a', 'b', 'c', 'd']);
    }));

  it('a transaction inside a transaction is refused instead of waiting for itself', () =>
    withStore(async ({ store }) => {
      await store.outbox.transaction(async () => {
        await expect(store.outbox.transaction(async () => undefined)).rejects.toThrow('use its tx');
        await expect(store.inbox.run([claim('m')], never(), async () => undefined)).rejects.toThrow('use its tx');
      });
      expect(await store.inbox.run([claim('m')], never(), async () => undefined)).toEqual([0]);
    }));

  it('rejects when the work ended the transaction itself', () =>
    withStore(async ({ store }) => {
      await expect(store.outbox.transaction(async (tx) => tx.exec('ROLLBACK'))).rejects.toThrow(
        'ended before its work',
      );
      await expect(store.outbox.transaction(async (tx) => tx.close())).rejects.toThrow(TypeError);
      expect(await added(store, topicOf(), { id: 'a' })).toEqual(['a']);
    }));

  it('reads nothing of a transaction that is still open on its own connection', () =>
    withStore(async ({ store }) => {
      const leases = await store.outbox.relay.lease('a', 60_000);
      const hold = gate();
      const writing = store.outbox.transaction(async (tx) => {
        await store.outbox.add(tx, topicOf(), {});
        await hold.opened;
        throw new Error('never mind');
      });
      const reading = store.outbox.relay.read(leases, 10);
      hold.open();
      await expect(writing).rejects.toThrow('never mind');
      expect(await reading).toEqual([]);
    }));

  it('keeps a parked message whole, with its reason', () =>
    withStore(async ({ store, handle }) => {
      await added(store, topicOf(), { id: 'm', key: 'k', headers: { a: 'b' } });
      const { leases, rows } = await readAll(store);
      const [row] = rows;
      const verdict = { rowId: row!.rowId, shard: row!.shard, kind: 'park', reason: 'unroutable' } as const;
      await store.outbox.relay.settle(leases, [verdict]);
      const parked = handle.prepare('SELECT message_id, key, headers, reason FROM holdfast_outbox_parked').all();
      expect(parked.map((each) => ({ ...each }))).toEqual([
        { message_id: 'm', key: 'k', headers: '{"a":"b"}', reason: 'unroutable' },
      ]);
    }));

  it('a release that fails in the middle leaves each message parked or waiting, and another goes on', () =>
    withStore(async ({ store, handle }) => {
      const ids = Array.from({ length: 150 }, (_, index) => `m-${index}`);
      await added(store, topicOf(), ...ids.map((id) => ({ id })));
      const { leases, rows } = await readAll(store);
      const verdicts = rows.map(({ rowId, shard }) => ({ rowId, shard, kind: 'park', reason: 'unroutable' }) as const);
      await store.outbox.relay.settle(leases, verdicts);
      handle.exec(`CREATE TRIGGER broken BEFORE DELETE ON holdfast_outbox_parked WHEN old.message_id = 'm-120'
        BEGIN SELECT raise(ABORT, 'broken here'); END`);
      await expect(store.outbox.parked.release()).rejects.toThrow('broken here');
      expect((await readAll(store)).ids).toEqual(ids.slice(0, 100));
      const left = handle.prepare('SELECT message_id AS id FROM holdfast_outbox_parked ORDER BY id').all();
      expect(left.map(({ id }) => id)).toEqual(ids.slice(100));
      handle.exec('DROP TRIGGER broken');
      expect(await store.outbox.parked.release()).toEqual({ released: 50 });
      expect((await readAll(store)).ids).toEqual(ids);
    }));

  it('looking at parked messages, or moving them, inside a transaction is refused instead of waiting for itself', () =>
    withStore(async ({ store }) => {
      const { parked } = store.outbox;
      await store.outbox.transaction(async () => {
        await expect(parked.list()[Symbol.asyncIterator]().next()).rejects.toThrow('use its tx');
        await expect(parked.release()).rejects.toThrow('use its tx');
        await expect(parked.discard({ where: { ids: [] } })).rejects.toThrow('use its tx');
      });
      expect(await parked.release()).toEqual({ released: 0 });
    }));

  it('a message that nobody was there for is parked by a running relay, and arrives once it is released', () =>
    withStore(async ({ store, path }) => {
      const client = await connect({ adapter: sqlite({ path: `${path}-broker` }) });
      const topic = defineTopic<{ n: number }>('parked.orders');
      const relay = createRelay({ client, outbox: store.outbox });
      await relay.start();
      await store.outbox.transaction((tx) => store.outbox.add(tx, topic, { n: 1 }, { id: 'm' }));
      const first = () => store.outbox.parked.list()[Symbol.asyncIterator]().next();
      await until('it is parked', async () => !(await first()).done);
      expect((await first()).value).toMatchObject({ id: 'm', topic: 'parked.orders', reason: 'unroutable' });
      const seen: unknown[] = [];
      await client.consume(topic, { group: 'g' }, ({ id, payload }) => {
        seen.push([id, payload]);
      });
      expect(await store.outbox.parked.release({ where: { reason: 'unroutable' } })).toEqual({ released: 1 });
      await until('it arrives', () => seen.length > 0);
      expect(seen).toEqual([['m', { n: 1 }]]);
      await client.close();
      expect((await store.outbox.relay.pending()).total).toBe(0);
      expect((await first()).done).toBe(true);
    }));

  it('works in memory, for one process', async () => {
    const store = sqliteStore({ path: ':memory:', source: 'shop' });
    await store.migrate();
    await added(store, topicOf(), { id: 'a' });
    const { rows } = await readAll(store);
    expect(rows[0]).toMatchObject({ id: 'a', source: 'shop' });
    expect(await store.inbox.run([claim('m')], never(), async () => undefined)).toEqual([0]);
    await store.close();
    await store.close();
    await expect(store.outbox.relay.pending()).rejects.toThrow('was closed');
  });

  it('never uses a row id twice', () =>
    withStore(async ({ store }) => {
      await added(store, topicOf(), {});
      const first = await readAll(store);
      const [row] = first.rows;
      await store.outbox.relay.settle(first.leases, [{ rowId: row!.rowId, shard: row!.shard, kind: 'sent' }]);
      await added(store, topicOf(), {});
      expect(Number((await readAll(store)).rows[0]!.rowId)).toBeGreaterThan(Number(row!.rowId));
    }));

  it('says what to do when it is used before migrate(), or its file cannot be opened', async () => {
    const store = sqliteStore({ path: ':memory:' });
    await expect(added(store, topicOf(), {})).rejects.toThrow('store.migrate()');
    await expect(store.outbox.relay.lease('a', 1000)).rejects.toThrow('store.migrate()');
    await expect(store.inbox.run([claim('m')], never(), async () => undefined)).rejects.toThrow('store.migrate()');
    await store.close();
    const nowhere = sqliteStore({ path: join(tmpdir(), 'no', 'such', 'folder', 'app.db') });
    await expect(nowhere.migrate()).rejects.toThrow('cannot be opened');
    await nowhere.close();
  });

  it('refuses wrong options at construction, naming them', () => {
    const make = (options: unknown) => () => sqliteStore(options as SqliteStoreOptions);
    expect(make({ path: 'a.db', busyTimeout: 1 })).toThrow(/no option "busyTimeout".*"busyTimeoutMs"/);
    expect(make({ path: '' })).toThrow(TypeError);
    expect(make({ path: 'a.db', source: '' })).toThrow(/"source"/);
    expect(make({ path: 'a.db', busyTimeoutMs: -1 })).toThrow(/"busyTimeoutMs"/);
    expect(make(undefined)).toThrow(TypeError);
  });
});
