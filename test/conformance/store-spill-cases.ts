import assert from 'node:assert/strict';
import type { OutboxRow, SpillEntry, SpillStore, Store } from '../../src/port.ts';
import { added, readAll, type StoreSuiteOptions, storeCases, topicOf, until } from './store-fixtures.ts';

/** Messages that wait in the store for their broker. */
export function spillCases<Tx>(options: StoreSuiteOptions<Tx>): void {
  const promises = storeCases(options);

  promises('S16: a spilled message is read by the relay exactly as it was published', async ({ store, other }) => {
    const whole = await entry({
      id: 'whole',
      source: 'another shop',
      key: 'é"k',
      dedupeKey: 'd',
      lane: 'high',
      headers: { a: '1', ü: '🚂' },
      contentType: 'text/plain',
      body: new Uint8Array([0, 255, 10]),
      expiresInMs: 60_000,
      publishedAt: 1_700_000_000_123,
    });
    const [rowId] = await spillOf(store).add([whole]);
    const { rows } = await readAll(other);
    const { addedAt, readAt: _, attempts, delayMs, ...row } = rows[0]!;
    const { bytes, delayMs: asked, body, ...expected } = whole;
    assert.deepEqual(
      { ...row, headers: { ...row.headers }, body: new Uint8Array(row.body) },
      { ...expected, headers: { ...whole.headers }, body, rowId },
    );
    assert.deepEqual([attempts, delayMs, asked], [0, 0, 0]);
    assert.ok(Math.abs(addedAt - Date.now()) < 60_000, 'its time in the store is the database’s');
  });

  promises('S16: what is left of a delay goes on counting in the store', async ({ store }) => {
    await spillOf(store).add([await entry({ id: 'later', delayMs: 30_000 })]);
    await until('some of it has passed', async () => (await readAll(store)).rows[0]!.delayMs < 30_000);
    assert.ok((await readAll(store)).rows[0]!.delayMs > 0);
  });

  promises('S16: many are stored by one call, in order, each with a row id of its own', async ({ store }) => {
    const key = 'k';
    const entries = await Promise.all(
      Array.from({ length: 700 }, (_, index) => entry({ id: `m-${index}`, key, headers: { n: String(index) } })),
    );
    const rowIds = await spillOf(store).add(entries);
    const { rows } = await readAll(store);
    assert.deepEqual(
      rows.map(({ id, rowId, headers }) => [id, rowId, headers.n]),
      entries.map(({ id }, index) => [id, rowIds[index], String(index)]),
    );
    assert.equal(new Set(rowIds).size, 700);
    assert.deepEqual(await spillOf(store).add([]), []);
  });

  promises('S16: a key keeps its order over outbox and spill', async ({ store }) => {
    const topic = topicOf();
    const spilled = async (id: string): Promise<SpillEntry> => ({
      ...(await entry({ id, key: 'k' })),
      topic: topic.topic,
    });
    await added(store, topic, { id: 'a', key: 'k', shard: 5 });
    await spillOf(store).add([{ ...(await spilled('b')), shard: 5 }]);
    await added(store, topic, { id: 'c', key: 'k', shard: 5 });
    const { leases, rows, ids } = await readAll(store);
    assert.deepEqual(ids, ['a', 'b', 'c']);
    await store.outbox.relay.settle(leases, [later(rows[1]!)]);
    assert.deepEqual((await readAll(store)).ids, ['a']);
  });

  promises('S16: counts what was spilled, by whomever, and not what the outbox holds', async ({ store, other }) => {
    const nothing = { rows: 0, bytes: 0, oldestAgeMs: undefined };
    assert.deepEqual(await spillOf(store).state(), nothing);
    await added(store, topicOf(), { id: 'outbox' });
    assert.deepEqual(await spillOf(store).state(), nothing);
    await spillOf(store).add([await entry({ id: 'a', bytes: 300 }), await entry({ id: 'b', bytes: 1000 })]);
    await spillOf(other).add([await entry({ id: 'c', bytes: 5 })]);
    const some = await spillOf(other).state();
    assert.deepEqual([some.rows, some.bytes], [3, 1305]);
    await until('it grows older', async () => (await spillOf(store).state()).oldestAgeMs! >= 10);
    const { leases, rows } = await readAll(store);
    await store.outbox.relay.settle(
      leases,
      rows.map((row) => ({ ...later(row), kind: row.id === 'a' ? 'sent' : row.id === 'b' ? 'park' : 'later' })),
    );
    const rest = await spillOf(store).state();
    assert.deepEqual([rest.rows, rest.bytes], [1, 5]);
  });

  promises('S16: says which rows still wait: neither sent nor parked', async ({ store, other }) => {
    const ids = ['sent', 'parked', 'failed', 'untouched'];
    const entries = await Promise.all(ids.map((id) => entry({ id })));
    const rowIds = await spillOf(store).add(entries);
    const asked = entries.map(({ shard }, index) => ({ rowId: rowIds[index]!, shard }));
    assert.deepEqual([...(await spillOf(other).left(asked))].sort(), [...rowIds].sort());
    const { leases, rows } = await readAll(store);
    const of = (id: string): OutboxRow => rows.find((row) => row.id === id)!;
    await store.outbox.relay.settle(leases, [
      { ...later(of('sent')), kind: 'sent' },
      { ...later(of('parked')), kind: 'park', reason: 'unroutable' },
      later(of('failed')),
    ]);
    assert.deepEqual([...(await spillOf(other).left(asked))].sort(), rowIds.slice(2).sort());
    assert.deepEqual(await spillOf(store).left([]), []);
  });

  promises('S16: spilling wakes the relay', async ({ store }) => {
    let calls = 0;
    const unsubscribe = store.outbox.relay.onWake(() => {
      calls++;
    });
    await spillOf(store).add([await entry({ id: 'a' })]);
    await until('it was woken', () => calls > 0);
    unsubscribe();
  });

  promises('S16: one entry that cannot be stored leaves none of its call', async ({ store }) => {
    const broken = { ...(await entry({ id: 'broken' })), topic: null as unknown as string };
    await assert.rejects(spillOf(store).add([await entry({ id: 'good' }), broken]));
    assert.equal((await spillOf(store).state()).rows, 0);
    await spillOf(store).add([await entry({ id: 'next' })]);
    assert.deepEqual((await readAll(store)).ids, ['next']);
  });
}

async function entry(more: Partial<SpillEntry> & { readonly id: string }): Promise<SpillEntry> {
  const made = await topicOf('spilled').toEntry(more, undefined);
  return { ...made, source: 'shop', publishedAt: 1_700_000_000_000, bytes: 256, expiresInMs: undefined, ...more };
}

function spillOf<Tx>({ spill }: Store<Tx>): SpillStore {
  assert.ok(spill, 'the store can take spilled messages');
  return spill;
}

function later({ rowId, shard }: OutboxRow): { rowId: string; shard: number; kind: 'later'; delayMs: number } {
  return { rowId, shard, kind: 'later', delayMs: 60_000 };
}
