/** Order within a key, over the broker and the store. */

import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { handled, open, ordered, outcomeOf, rowsIn, until, watchedStore } from './spill-fixture.ts';

it('S16: a key with rows in the store is spilled behind them, also what waited; afterwards it is published again', async () => {
  const { client, weather, watched } = await open();
  const messages = await handled(client, ordered);
  const outcomes: string[] = [];
  const publish = async (n: number): Promise<void> => {
    outcomes[n] = await outcomeOf(client.publish(ordered, { key: `k${n % 5}`, n }));
  };
  const publishing: Promise<void>[] = [];
  for (let n = 0; n < 400; n += 1) {
    if (n === 50) weather.now = 'doubtful';
    if (n === 300) weather.now = 'fine';
    publishing.push(publish(n));
    if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(publishing);
  expect(new Set(outcomes)).toEqual(new Set(['confirmed', 'spilled']));
  expect(outcomes.slice(0, 40)).not.toContain('spilled');
  await until('the store is empty', async () => (await rowsIn(watched)) === 0);
  const receipts = await client.publishAll(
    ordered,
    Array.from({ length: 5 }, (_, n) => ({ key: `k${n}`, n: 400 + n })),
  );
  expect(receipts.map((result) => result.ok && result.receipt.outcome)).toEqual(Array(5).fill('confirmed'));
  await until('all were handled', () => new Set(messages.map(({ id }) => id)).size === 405);
  for (const key of ['k0', 'k1', 'k2', 'k3', 'k4']) {
    const seen = new Set<number>();
    const order = messages.filter(({ payload }) => payload.key === key).map(({ payload }) => payload.n);
    const firsts = order.filter((n) => !seen.has(n) && seen.add(n));
    expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
  }
});

it('S16: what follows the message that tries the broker is not stored before it, within a key', async () => {
  const { client, weather, watched } = await open();
  // Somebody else has the rows, so that only what is published reaches the adapter.
  await watched.store.outbox.relay.lease('another relay', 60_000);
  await client.publish(ordered, { key: 'before', n: 0 });
  weather.now = 'silent';
  weather.say('disconnected');
  expect(await client.publish(ordered, { key: 'first', n: 0 })).toMatchObject({ outcome: 'spilled' });
  const tried = weather.tried.length;
  let key = '';
  await until('one has tried the broker', async () => {
    key = randomUUID();
    const both = [1, 2].map((n) => outcomeOf(client.publish(ordered, { key, n }, { id: `${key} ${n}` })));
    expect(await Promise.all(both)).toEqual(['spilled', 'spilled']);
    return weather.tried.length > tried;
  });
  expect(weather.tried[tried]).toMatchObject({ id: `${key} 1` });
  expect(watched.entries.filter((entry) => entry.key === key).map(({ id }) => id)).toEqual([`${key} 1`, `${key} 2`]);
});

it('S16: behind rows that another relay has, a key waits for a while, and then follows them into the store', async () => {
  const { client, weather, watched } = await open({ spill: { spillAfterMs: 150 } });
  const { relay } = watched.store.outbox;
  const messages = await handled(client, ordered);
  await client.publish(ordered, { key: 'k', n: 0 });
  // Somebody holds every shard, and sends nothing.
  await relay.lease('another relay', 60_000);
  weather.now = 'refused';
  expect(await client.publish(ordered, { key: 'k', n: 1 })).toMatchObject({ outcome: 'spilled' });
  weather.now = 'fine';
  await until('the broker is known to be back', async () => {
    // Each time another key: one that has rows in the store stays behind them.
    const receipt = await client.publish(ordered, { key: randomUUID(), n: 0 });
    return receipt.outcome === 'confirmed';
  });
  expect(await client.publish(ordered, { key: 'k', n: 2 })).toMatchObject({ outcome: 'spilled' });
  expect(messages.filter(({ payload }) => payload.key === 'k')).toHaveLength(1);
  await relay.release('another relay');
  await until('all is sent', async () => (await rowsIn(watched)) === 0, 30_000);
  await until('all is handled', () => messages.some(({ payload }) => payload.n === 2), 30_000);
  const order = messages.filter(({ payload }) => payload.key === 'k').map(({ payload }) => payload.n);
  expect([...new Set(order)]).toEqual([0, 1, 2]);
});

it('S16: a key whose rows another relay has sent is published again', async () => {
  const { client, weather, watched } = await open({ spill: { spillAfterMs: 5_000 }, breaker: { minCalls: 1 } });
  const { relay } = watched.store.outbox;
  await client.publish(ordered, { key: 'k', n: 0 });
  const leases = await relay.lease('another relay', 60_000);
  weather.now = 'refused';
  expect(await client.publish(ordered, { key: 'k', n: 1 })).toMatchObject({ outcome: 'spilled' });
  weather.now = 'fine';
  await until('the broker is known to be back', async () => {
    const receipt = await client.publish(ordered, { key: randomUUID(), n: 0 });
    return receipt.outcome === 'confirmed';
  });
  const waiting = client.publish(ordered, { key: 'k', n: 2 });
  const rows = await relay.read(leases, 100);
  await relay.settle(
    leases,
    rows.map(({ rowId, shard }) => ({ rowId, shard, kind: 'sent' as const })),
  );
  expect(await waiting).toMatchObject({ outcome: 'confirmed' });
});

it('S16: rows that were sent, and are somebody else’s by now, still stand before their key', async () => {
  const watched = await watchedStore();
  const { outbox } = watched.store;
  let fenced = 0;
  const relay = {
    ...outbox.relay,
    async settle() {
      fenced += 1;
      return [];
    },
  };
  const store = { ...watched.store, outbox: { ...outbox, relay } };
  const { client, weather } = await open({ spill: { store, spillAfterMs: 150 } }, { watched });
  await client.publish(ordered, { key: 'k', n: 0 });
  weather.now = 'refused';
  expect(await client.publish(ordered, { key: 'k', n: 1 })).toMatchObject({ outcome: 'spilled' });
  const before = fenced;
  weather.now = 'fine';
  await until('its row was sent, and not settled', () => fenced > before + 1);
  expect(await client.publish(ordered, { key: 'k', n: 2 })).toMatchObject({ outcome: 'spilled' });
  await client.close({ drainMs: 0 });
  await watched.store.close();
});
