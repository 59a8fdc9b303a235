import assert from 'node:assert/strict';
import type { ShardLease } from '../../src/port.ts';
import { added, readAll, type StoreSuiteOptions, storeCases, topicOf, until } from './store-fixtures.ts';

const long = 60_000;

/** Who relays what. */
export function leaseCases<Tx>(options: StoreSuiteOptions<Tx>): void {
  const promises = storeCases(options);

  promises('a relay alone holds every shard, and keeps its epochs while it renews', async ({ store }) => {
    const { relay } = store.outbox;
    assert.equal(relay.shards, 64);
    const first = await relay.lease('a', long);
    assert.deepEqual(shardsOf(first), range(64));
    assert.deepEqual(sorted(await relay.lease('a', long)), sorted(first));
  });

  promises('relays side by side each get their even share, all shards in one hand each', async ({ store, other }) => {
    const stores = [store, other, store];
    const owners = ['a', 'b', 'c'];
    const held = async (): Promise<readonly (readonly ShardLease[])[]> => {
      const all: (readonly ShardLease[])[] = [];
      for (const [index, owner] of owners.entries()) all.push(await stores[index]!.outbox.relay.lease(owner, long));
      return all;
    };
    await held();
    await held();
    const shares = await held();
    assert.deepEqual(shares.map(({ length }) => length).sort(), [21, 21, 22]);
    assert.deepEqual(shardsOf(shares.flat()), range(64));
  });

  promises('shards that are released go to the next at once, under a higher epoch', async ({ store, other }) => {
    const before = await store.outbox.relay.lease('a', long);
    assert.deepEqual(await other.outbox.relay.lease('b', long), []);
    await store.outbox.relay.release('a');
    const after = await other.outbox.relay.lease('b', long);
    assert.deepEqual(shardsOf(after), range(64));
    for (const { shard, epoch } of after) assert.ok(epoch > before.find((lease) => lease.shard === shard)!.epoch);
  });

  promises('shards of a relay that no longer renews go to the next once its term is over', async ({ store, other }) => {
    const before = await store.outbox.relay.lease('a', 200);
    let after: readonly ShardLease[] = [];
    await until('b holds every shard', async () => {
      after = await other.outbox.relay.lease('b', long);
      return after.length === 64;
    });
    for (const { shard, epoch } of after) assert.ok(epoch > before.find((lease) => lease.shard === shard)!.epoch);
  });

  promises('what is above the share is handed over, and what comes back has a new epoch', async ({ store, other }) => {
    const first = await store.outbox.relay.lease('a', long);
    await other.outbox.relay.lease('b', long);
    assert.equal((await store.outbox.relay.lease('a', long)).length, 32);
    assert.equal((await other.outbox.relay.lease('b', long)).length, 32);
    await other.outbox.relay.release('b');
    const again = await store.outbox.relay.lease('a', long);
    assert.equal(again.length, 64);
    const raised = again.filter(({ shard, epoch }) => epoch > first.find((lease) => lease.shard === shard)!.epoch);
    assert.equal(raised.length, 32);
  });

  promises('relays that start at the same moment never hold a shard twice', async ({ store, other }) => {
    const owners = range(8).map((index) => `relay-${index}`);
    for (let round = 0; round < 4; round++) {
      const held = await Promise.all(
        owners.map((owner, index) => (index % 2 === 0 ? store : other).outbox.relay.lease(owner, long)),
      );
      const all = shardsOf(held.flat());
      // A hand-over within the round may show a shard with both: then under two epochs.
      assert.equal(new Set(held.flat().map(({ shard, epoch }) => `${shard}/${epoch}`)).size, all.length);
    }
    const last: ShardLease[] = [];
    for (const owner of owners) last.push(...(await store.outbox.relay.lease(owner, long)));
    assert.deepEqual(shardsOf(last), range(64));
  });

  promises('S35: under an epoch that is over nothing is read and nothing is settled', async ({ store, other }) => {
    const topic = topicOf();
    await added(store, topic, { id: 'sent' }, { id: 'parked' }, { id: 'failed', key: 'k' });
    const { leases: old, rows } = await readAll(store);
    await store.outbox.relay.release('the only relay');
    const now = await other.outbox.relay.lease('b', long);
    assert.deepEqual(await store.outbox.relay.read(old, 100), []);
    const kinds = ['sent', 'park', 'later'] as const;
    const verdicts = rows.map(({ rowId, shard }, index) => ({ rowId, shard, kind: kinds[index]!, delayMs: long }));
    assert.deepEqual(await store.outbox.relay.settle(old, verdicts), []);
    assert.deepEqual(
      await store.outbox.relay.settle(
        old,
        verdicts.map((row) => ({ ...row, kind: 'sent' as const })),
      ),
      [],
    );
    const left = await other.outbox.relay.read(now, 100);
    assert.deepEqual(
      left.map(({ id, attempts }) => ({ id, attempts })),
      ['sent', 'parked', 'failed'].map((id) => ({ id, attempts: 0 })),
    );
  });
}

function sorted(leases: readonly ShardLease[]): readonly ShardLease[] {
  return [...leases].sort((a, b) => a.shard - b.shard);
}

function shardsOf(leases: readonly ShardLease[]): readonly number[] {
  return leases.map(({ shard }) => shard).sort((a, b) => a - b);
}

function range(size: number): readonly number[] {
  return Array.from({ length: size }, (_, index) => index);
}
