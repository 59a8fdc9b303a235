import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { added, readAll, type StoreSuiteOptions, storeCases, topicOf, until } from './store-fixtures.ts';

/** The writer's side. */
export function outboxCases<Tx>(options: StoreSuiteOptions<Tx>): void {
  const promises = storeCases(options);

  promises('G1: a committed transaction leaves its message and its own rows', async ({ store, write, written }) => {
    const topic = topicOf();
    const { id } = await store.outbox.transaction(async (tx) => {
      await write(tx, 'order');
      return await store.outbox.add(tx, topic, { key: 'k' }, { id: 'one' });
    });
    assert.equal(id, 'one');
    assert.deepEqual((await readAll(store)).ids, ['one']);
    assert.deepEqual(await written(), ['order']);
  });

  promises('G1: a transaction that throws leaves nothing, and rejects with that very error', async (under) => {
    const { store, write, written } = under;
    const failure = new Error('no stock');
    const failing = store.outbox.transaction(async (tx) => {
      await write(tx, 'order');
      await store.outbox.add(tx, topicOf(), { key: 'k' });
      throw failure;
    });
    await assert.rejects(failing, (error) => error === failure);
    assert.deepEqual((await readAll(store)).ids, []);
    assert.deepEqual(await written(), []);
    assert.equal((await store.outbox.relay.pending()).total, 0);
  });

  promises('S32: a row is read as it was added, every attribute of it', async ({ store }) => {
    const topic = topicOf();
    const entry = {
      id: 'id-1',
      key: 'k-1',
      dedupeKey: 'd-1',
      lane: 'high',
      headers: { tenant: 'eu', 'trace-id': '1' },
      contentType: 'application/x-thing',
      body: Uint8Array.from({ length: 256 }, (_, byte) => byte),
      expiresInMs: 60_000,
    } as const;
    const before = Date.now();
    await added(store, topic, entry, { id: 'id-2', body: new Uint8Array(0) });
    const [first, second] = (await readAll(store)).rows;
    const { rowId, addedAt, readAt, ...read } = first!;
    const { body, ...rest } = { ...read, body: new Uint8Array(read.body) };
    const wanted = await topic.toEntry(entry, undefined);
    assert.deepEqual({ ...rest, body }, { ...wanted, source: store.outbox.source, attempts: 0 });
    assert.equal(typeof rowId, 'string');
    assert.ok(Math.abs(addedAt - before) < 60_000);
    assert.ok(readAt === undefined || (readAt >= addedAt && readAt - addedAt < 60_000), `read at ${readAt}`);
    assert.deepEqual(
      { key: second!.key, dedupeKey: second!.dedupeKey, headers: second!.headers, expiresInMs: second!.expiresInMs },
      { key: undefined, dedupeKey: undefined, headers: {}, expiresInMs: undefined },
    );
    assert.equal(second!.body.byteLength, 0);
  });

  promises(
    'keeps any text: other scripts, quotes, long keys; in headers also U+0000 and half surrogates',
    async (under) => {
      const { store } = under;
      const hard = `Zürich 東京 🚂 'q' "d" \\ {a,b} NULL \n\t`;
      const headers = { plain: hard, nul: 'a\0b', half: '\ud83d', ключ: 'значение' };
      await added(store, topicOf(), { id: hard, key: `${hard}${'é'.repeat(4000)}`, dedupeKey: hard, headers });
      const { rows, leases } = await readAll(store);
      const [row] = rows;
      assert.equal(row!.id, hard);
      assert.equal(row!.key, `${hard}${'é'.repeat(4000)}`);
      assert.equal(row!.dedupeKey, hard);
      assert.deepEqual(row!.headers, headers);
      const verdict = { rowId: row!.rowId, shard: row!.shard, kind: 'later', delayMs: 60_000 } as const;
      assert.deepEqual(await store.outbox.relay.settle(leases, [verdict]), [row!.rowId]);
    },
  );

  promises('addAll keeps the order of the payloads and answers their ids in it', async ({ store }) => {
    const wanted = Array.from({ length: 500 }, (_, index) => `m-${index}`);
    const topic = topicOf();
    const answered = await store.outbox.transaction((tx) =>
      store.outbox.addAll(
        tx,
        topic,
        wanted.map(() => ({ key: 'same' })),
        (_, index) => ({ id: wanted[index]! }),
      ),
    );
    assert.deepEqual(
      answered.map(({ id }) => id),
      wanted,
    );
    assert.deepEqual((await readAll(store)).ids, wanted);
  });

  promises('addAll of nothing adds nothing', async ({ store }) => {
    assert.deepEqual(await store.outbox.transaction((tx) => store.outbox.addAll(tx, topicOf(), [])), []);
  });

  promises(
    'stores nothing of a call whose payload is refused, and leaves the transaction usable',
    async ({ store }) => {
      const topic = topicOf();
      const refusing = { toEntry: () => Promise.reject(new RangeError('too large')) };
      await store.outbox.transaction(async (tx) => {
        await assert.rejects(store.outbox.add(tx, refusing, {}), RangeError);
        await store.outbox.add(tx, topic, { id: 'good' });
      });
      assert.deepEqual((await readAll(store)).ids, ['good']);
    },
  );

  promises('keeps every one of many transactions that write at once', async ({ store, other }) => {
    const topic = topicOf();
    const wanted = Array.from({ length: 40 }, (_, index) => `m-${index}`);
    await Promise.all(wanted.map((id, index) => added(index % 2 === 0 ? store : other, topic, { id, key: 'k' })));
    assert.deepEqual([...(await readAll(store)).ids].sort(), [...wanted].sort());
  });

  promises('S32: a delay counts from the insert: a row is read at once, with what is left of it', async ({ store }) => {
    await added(store, topicOf(), { delayMs: 60_000 });
    await sleep(30);
    const [row] = (await readAll(store)).rows;
    assert.ok(row!.delayMs <= 59_971 && row!.delayMs > 0, `${row!.delayMs} ms are left`);
  });

  promises('S24: a transaction that has ended cannot be used', async ({ store, write, written }) => {
    let kept: Tx | undefined;
    await store.outbox.transaction(async (tx) => {
      kept = tx;
    });
    await assert.rejects(async () => write(kept!, 'late'), { name: 'TransactionRevoked' });
    assert.deepEqual(await written(), []);
  });

  promises(
    'wakes its listeners after a commit that added rows, and no longer once they unsubscribed',
    async ({ store }) => {
      let calls = 0;
      const unsubscribe = store.outbox.relay.onWake(() => {
        calls++;
      });
      await store.outbox.transaction(async () => undefined);
      assert.equal(calls, 0);
      await added(store, topicOf(), {}, {});
      await until('it was woken', () => calls === 1);
      unsubscribe();
      await added(store, topicOf(), {});
      await sleep(20);
      assert.equal(calls, 1);
    },
  );

  promises('wakes listeners of another process', async ({ store, other }) => {
    let calls = 0;
    const unsubscribe = other.outbox.relay.onWake(() => {
      calls++;
    });
    // The other one may still be on its way to listening: rows are added until it hears.
    await until('the other was woken', async () => {
      await added(store, topicOf(), {});
      return calls > 0;
    });
    unsubscribe();
  });

  promises(
    'migrate may run again and at once from several processes, and keeps what is there',
    async ({ store, other }) => {
      await added(store, topicOf(), { id: 'kept' });
      await Promise.all([store.migrate(), other.migrate(), store.migrate(), other.migrate()]);
      assert.deepEqual((await readAll(store)).ids, ['kept']);
    },
  );
}
