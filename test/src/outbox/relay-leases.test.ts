import { afterEach, expect, it, vi } from 'vitest';
import { connect, createRelay } from '../../../src/index.ts';
import type { OutboxRow, OutboxShape, PublishOutcome, ShardLease } from '../../../src/port.ts';
import { confirmAll, fakeAdapter, type Gate, gate } from '../fake-adapter.ts';
import { outboxOf } from './fake-outbox.ts';

const shape: OutboxShape = {
  topic: 'orders',
  groups: [{ name: 'g', ordered: true }],
  partitions: undefined,
  lanes: false,
};
const rowOf = (id: string): OutboxRow => ({
  rowId: id,
  id,
  shard: 1,
  shape: JSON.stringify(shape),
  topic: shape.topic,
  key: 'k',
  dedupeKey: undefined,
  lane: 'normal',
  headers: {},
  contentType: 'application/json',
  body: Buffer.from('1'),
  delayMs: 0,
  expiresInMs: undefined,
  source: 'shop',
  attempts: 0,
  addedAt: Date.now(),
});

afterEach(() => void vi.restoreAllMocks());

it('G3: a deletion that fails is tried again, before its row could be read and published again', async () => {
  const sent: string[] = [];
  const client = await connect({
    adapter: fakeAdapter({
      publish(batch) {
        sent.push(...batch.map(({ id }) => id));
        return confirmAll(batch);
      },
    }),
  });
  const deleted = gate();
  let gone = false;
  let failures = 2;
  const outbox = outboxOf({
    lease: async () => [{ shard: 1, epoch: 1 }],
    read: async () => (gone ? [] : [rowOf('1')]),
    async settle(_, settlements) {
      if (failures-- > 0) throw new Error('the database is away');
      gone = true;
      deleted.open();
      return settlements.map(({ rowId }) => rowId);
    },
  });
  const relay = createRelay({ client, outbox });
  await relay.start();
  await deleted.opened;
  expect(sent).toEqual(['1']);
  await relay.stop();
  await client.close();
});

/** A relay that has read three rows of one key, of which the first is on its way until `confirm`. Its shard is handed over soon. */
async function relaying() {
  const renewed = gate();
  const sent: string[] = [];
  const publishing = gate();
  const confirm: Gate<readonly PublishOutcome[]> = gate();
  const settled = gate<readonly string[]>();
  const settledUnder: (readonly ShardLease[])[] = [];
  const client = await connect({
    adapter: fakeAdapter({
      publish(batch) {
        sent.push(...batch.map(({ id }) => id));
        publishing.open();
        return confirm.opened;
      },
    }),
  });
  let rows = ['1', '2', '3'].map(rowOf);
  let leased = false;
  const outbox = outboxOf({
    async lease() {
      if (leased) {
        renewed.open();
        return [];
      }
      leased = true;
      return [{ shard: 1, epoch: 1 }];
    },
    async read() {
      const read = rows;
      rows = [];
      return read;
    },
    async settle(leases, settlements) {
      settledUnder.push(leases);
      settled.open(settlements.map(({ rowId, kind }) => `${rowId} ${kind}`));
      return settlements.map(({ rowId }) => rowId);
    },
  });
  const relay = createRelay({ client, outbox, leaseMs: 500 });
  await relay.start();
  await publishing.opened;
  return { client, relay, sent, renewed, settled, settledUnder, confirm: () => confirm.open([{ kind: 'confirmed' }]) };
}

it('G3: a relay whose lease has run out begins no further row of a key: they are somebody else’s', async () => {
  const { client, relay, sent, settled, confirm } = await relaying();
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 60_000);
  confirm();
  expect(await settled.opened).toEqual(['1 sent']);
  expect(sent).toEqual(['1']);
  await relay.stop();
  await client.close();
});

it('a relay that is stopped finishes what is on its way, and begins nothing else', async () => {
  const { client, relay, sent, settled, confirm } = await relaying();
  const stopping = relay.stop();
  confirm();
  await stopping;
  expect(await settled.opened).toEqual(['1 sent']);
  expect(sent).toEqual(['1']);
  await client.close();
});

it('G3: what was published before its shard was handed over may still be deleted, until somebody else takes the shard', async () => {
  const { client, relay, renewed, settled, settledUnder, confirm } = await relaying();
  await renewed.opened;
  confirm();
  await settled.opened;
  expect(settledUnder).toEqual([[{ shard: 1, epoch: 1 }]]);
  await relay.stop();
  await client.close();
});
