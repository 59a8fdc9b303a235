import assert from 'node:assert/strict';
import type { OutboxRow, RowSettlement } from '../../src/port.ts';
import { added, readAll, type StoreSuiteOptions, storeCases, topicOf, until } from './store-fixtures.ts';

/** What a relay reads, and what becomes of it. */
export function relayCases<Tx>(options: StoreSuiteOptions<Tx>): void {
  const promises = storeCases(options);

  promises('reads by row id, at most the limit, and only of the shards it was asked for', async ({ store }) => {
    const topic = topicOf();
    const entries = Array.from({ length: 30 }, (_, index) => ({ id: `m-${index}`, shard: (index * 7) % 64 }));
    await added(store, topic, ...entries);
    const { ids, leases } = await readAll(store, 10);
    assert.deepEqual(
      ids,
      entries.slice(0, 10).map(({ id }) => id),
    );
    const some = leases.filter(({ shard }) => shard < 20);
    const rows = await store.outbox.relay.read(some, 100);
    assert.deepEqual(
      rows.map(({ id }) => id),
      entries.filter(({ shard }) => shard < 20).map(({ id }) => id),
    );
    assert.deepEqual(await store.outbox.relay.read([], 10), []);
  });

  promises('reads by row id also where nearly everything is in one shard', async ({ store }) => {
    const entries = Array.from({ length: 300 }, (_, index) => ({
      id: `m-${index}`,
      shard: index % 10 === 9 ? index % 64 : 5,
    }));
    await added(store, topicOf(), ...entries);
    for (const limit of [7, 100, 1000]) {
      assert.deepEqual(
        (await readAll(store, limit)).ids,
        entries.slice(0, limit).map(({ id }) => id),
      );
    }
  });

  promises('what was sent is gone, and settling it again settles nothing', async ({ store }) => {
    await added(store, topicOf(), { id: 'a' }, { id: 'b' }, { id: 'c' });
    const { leases, rows } = await readAll(store);
    const [a, b] = rows;
    const settled = await store.outbox.relay.settle(leases, [verdict(a!, 'sent'), verdict(b!, 'sent')]);
    assert.deepEqual([...settled].sort(), [a!.rowId, b!.rowId].sort());
    assert.deepEqual((await readAll(store)).ids, ['c']);
    assert.deepEqual(await store.outbox.relay.settle(leases, [verdict(a!, 'sent'), verdict(b!, 'later')]), []);
    assert.deepEqual(await store.outbox.relay.settle(leases, []), []);
  });

  promises(
    'G5: a row whose publish failed holds back the later rows of its key, and nobody else',
    async ({ store }) => {
      const topic = topicOf();
      const key = 'k';
      await added(store, topic, { id: 'k1', key }, { id: 'other', key: 'l' }, { id: 'k2', key }, { id: 'none' });
      const { leases, rows } = await readAll(store);
      await store.outbox.relay.settle(leases, [verdict(rows[0]!, 'later', { delayMs: 60_000 })]);
      await added(store, topic, { id: 'k3', key }, { id: 'none either' });
      assert.deepEqual((await readAll(store)).ids, ['other', 'none', 'none either']);
    },
  );

  promises('rows without a key never wait for one another', async ({ store }) => {
    await added(store, topicOf(), { id: 'a', shard: 3 }, { id: 'b', shard: 3 });
    const { leases, rows } = await readAll(store);
    await store.outbox.relay.settle(leases, [verdict(rows[0]!, 'later', { delayMs: 60_000 })]);
    assert.deepEqual((await readAll(store)).ids, ['b']);
  });

  promises('a topic that is down does not hold back the same key on another topic', async ({ store }) => {
    await added(store, topicOf(), { id: 'down', key: 'k' });
    await added(store, topicOf(), { id: 'up', key: 'k' });
    const { leases, rows } = await readAll(store);
    await store.outbox.relay.settle(leases, [verdict(rows[0]!, 'later', { delayMs: 60_000 })]);
    assert.deepEqual((await readAll(store)).ids, ['up']);
  });

  promises(
    'G5: a failed row comes again after its delay, its attempts counted, and before its successors',
    async (under) => {
      const { store } = under;
      const key = 'k';
      await added(store, topicOf(), { id: 'k1', key }, { id: 'k2', key });
      const { leases, rows } = await readAll(store);
      await store.outbox.relay.settle(leases, [verdict(rows[0]!, 'later', { delayMs: 40 })]);
      let again: readonly OutboxRow[] = [];
      await until('it is due', async () => {
        again = (await readAll(store)).rows;
        return again.length > 0;
      });
      assert.deepEqual([again[0]!.id, again[0]!.attempts], ['k1', 1]);
      await store.outbox.relay.settle(leases, [verdict(again[0]!, 'sent')]);
      assert.deepEqual((await readAll(store)).ids, ['k2']);
    },
  );

  promises('a parked row is out of the way: not read, not pending, its key goes on', async ({ store }) => {
    const key = 'k';
    await added(store, topicOf(), { id: 'k1', key }, { id: 'k2', key });
    const { leases, rows } = await readAll(store);
    const parked = verdict(rows[0]!, 'park', { reason: 'too large' });
    assert.deepEqual(await store.outbox.relay.settle(leases, [parked]), [rows[0]!.rowId]);
    assert.deepEqual((await readAll(store)).ids, ['k2']);
    assert.equal((await store.outbox.relay.pending()).total, 1);
  });

  promises('settles rows of all kinds by one call', async ({ store }) => {
    await added(store, topicOf(), { id: 'a' }, { id: 'b' }, { id: 'c' }, { id: 'd' });
    const { leases, rows } = await readAll(store);
    const [a, b, c] = rows;
    const settled = await store.outbox.relay.settle(leases, [
      verdict(a!, 'sent'),
      verdict(b!, 'park', { reason: 'unroutable' }),
      verdict(c!, 'later', { delayMs: 60_000 }),
    ]);
    assert.equal(settled.length, 3);
    assert.deepEqual((await readAll(store)).ids, ['d']);
  });

  promises('says whether anything can be sent, how much there is and how old the oldest is', async ({ store }) => {
    const { relay } = store.outbox;
    assert.deepEqual(await relay.pending(), { due: false, total: 0, oldestAgeMs: undefined });
    const key = 'k';
    await added(store, topicOf(), { id: 'k1', key }, { id: 'k2', key });
    const some = await relay.pending();
    assert.deepEqual([some.due, some.total], [true, 2]);
    await until('it grows older', async () => (await relay.pending()).oldestAgeMs! >= 10);
    const { leases, rows } = await readAll(store);
    await relay.settle(leases, [verdict(rows[0]!, 'later', { delayMs: 60_000 })]);
    const held = await relay.pending();
    assert.deepEqual([held.due, held.total], [false, 2]);
  });

  promises('rows of a transaction that is still open are neither read nor passed over', async ({ store, other }) => {
    const topic = topicOf();
    const leases = await other.outbox.relay.lease('b', 60_000);
    await store.outbox.transaction(async (tx) => {
      await store.outbox.add(tx, topic, { id: 'early', key: 'k' });
      assert.deepEqual(await other.outbox.relay.read(leases, 10), []);
    });
    const rows = await other.outbox.relay.read(leases, 10);
    assert.deepEqual(
      rows.map(({ id }) => id),
      ['early'],
    );
  });
}

function verdict(
  { rowId, shard }: OutboxRow,
  kind: RowSettlement['kind'],
  more: { readonly delayMs?: number; readonly reason?: string } = {},
): RowSettlement & { readonly shard: number } {
  return { rowId, shard, kind, ...more };
}
