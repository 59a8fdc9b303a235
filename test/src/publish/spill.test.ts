/** When a message is spilled, and what becomes of it. */

import { expect, it, vi } from 'vitest';
import { connect, defineTopic } from '../../../src/index.ts';
import {
  handled,
  type Order,
  open,
  ordered,
  outcomeOf,
  plain,
  rowsIn,
  until,
  watchedStore,
  weatherAdapter,
} from './spill-fixture.ts';

it('S16: while the broker is away a publish fulfils as spilled; once it is back the very same message is delivered', async () => {
  const { client, weather, watched } = await open();
  const messages = await handled(client);
  await client.publish(plain, { key: 'before', n: 0 });
  weather.now = 'refused';
  const receipt = await client.publish(
    plain,
    { key: 'k', n: 1 },
    { id: 'mine', headers: { a: '1' }, dedupeKey: 'd', expiresInMs: 600_000 },
  );
  expect(receipt).toEqual({ id: 'mine', outcome: 'spilled' });
  expect(await rowsIn(watched)).toBe(1);
  weather.now = 'fine';
  await until('it was delivered', () => messages.length === 2);
  expect(messages[1]).toMatchObject({
    id: 'mine',
    source: 'web',
    key: 'k',
    dedupeKey: 'd',
    payload: { key: 'k', n: 1 },
    headers: { a: '1' },
  });
  const [refused, ...sent] = weather.tried.filter(({ id }) => id === 'mine');
  expect(sent.at(-1)).toMatchObject({ publishedAt: refused!.publishedAt, expiresAt: refused!.publishedAt + 600_000 });
  await until('nothing is left', async () => (await rowsIn(watched)) === 0);
});

it('S16: a broker that is back before patience ends gets the message itself', async () => {
  const { client, weather, watched } = await open({ spill: { spillAfterMs: 30_000 } });
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  const publishing = client.publish(plain, { key: 'k', n: 1 });
  await until('it was tried', () => weather.tried.length >= 2);
  weather.now = 'fine';
  expect(await publishing).toMatchObject({ outcome: 'confirmed' });
  expect(watched.writes).toEqual([]);
});

it('G10: with an open circuit a publish is spilled without being tried', async () => {
  const { client, weather } = await open({
    breaker: { minCalls: 2, resetMs: 60_000 },
    spill: { spillAfterMs: 60_000 },
  });
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  const states: string[] = [];
  client.on('breaker', ({ state }) => states.push(state));
  const first = client.publish(plain, { key: 'k', n: 1 });
  // What is being tried when the circuit opens is spilled then, long before its patience ends.
  expect(await first).toMatchObject({ outcome: 'spilled' });
  expect(states).toContain('open');
  const tried = weather.tried.length;
  expect(await client.publish(plain, { key: 'k', n: 2 })).toMatchObject({ outcome: 'spilled' });
  expect(weather.tried.filter(({ id }) => !id.startsWith('row')).length).toBe(tried);
});

it('S16: what is unroutable, refused for good or wrong is never spilled', async () => {
  const { client, weather, watched } = await open();
  const nobody = defineTopic<Order>('nobody', {});
  expect(await outcomeOf(client.publish(nobody, { key: 'k', n: 1 }))).toBe('unroutable not-sent');
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  expect(await outcomeOf(client.publish(plain, { key: 'k', n: 1 }, { headers: { 'x-no': '1' } }))).toBe(
    'invalid-message not-sent',
  );
  expect(await outcomeOf(client.publish(plain, undefined as never))).toMatch(/not-sent$/);
  expect(await outcomeOf(client.publish(plain, { key: 'k', n: 1 }, { priority: 'high' }))).toBe(
    'invalid-message not-sent',
  );
  expect(watched.writes).toEqual([]);
});

it('S16: of a message whose confirm was lost both copies have one identity, so that an inbox drops the second', async () => {
  const { client, weather, watched } = await open();
  const effects: string[] = [];
  const duplicates: string[] = [];
  client.on('duplicate', ({ id }) => duplicates.push(id));
  await client.consume(plain, { group: 'g', inbox: watched.store.inbox }, ({ id }) => void effects.push(id));
  await client.publish(plain, { key: 'k', n: 0 }, { id: 'first' });
  weather.now = 'lost';
  expect(await client.publish(plain, { key: 'k', n: 1 }, { id: 'twice' })).toMatchObject({ outcome: 'spilled' });
  weather.now = 'fine';
  await until('the second copy was dropped', async () => duplicates.length > 0 && (await rowsIn(watched)) === 0);
  expect(effects).toEqual(['first', 'twice']);
});

it('S16: a delay that has begun goes on in the store', async () => {
  const { client, weather, watched } = await open();
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  await client.publish(plain, { key: 'k', n: 1 }, { delayMs: 60_000 });
  const [entry] = watched.entries;
  // It has waited for the broker for 40 ms at least.
  expect(entry!.delayMs).toBeLessThanOrEqual(59_970);
  expect(entry!.delayMs).toBeGreaterThan(0);
});

it('S16: what is being sent from the store is not spilled again, however often it fails', async () => {
  const { client, weather, watched } = await open({ breaker: { minCalls: 2, resetMs: 50 } });
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  await client.publish(plain, { key: 'k', n: 1 }, { id: 'mine' });
  const before = weather.tried.filter(({ id }) => id === 'mine').length;
  await until('it was tried again', () => weather.tried.filter(({ id }) => id === 'mine').length >= before + 3);
  expect(watched.writes).toEqual([1]);
  expect(await rowsIn(watched)).toBe(1);
});

it('S16: a broker that does not answer counts as away at the last moment, before the deadline', async () => {
  const { client, weather } = await open();
  await client.publish(plain, { key: 'k', n: 0 });
  await client.publish(ordered, { key: 'k', n: 0 });
  weather.now = 'silent';
  const waiting = [
    client.publish(plain, { key: 'k', n: 1 }, { timeoutMs: 400 }),
    client.publish(ordered, { key: 'k', n: 1 }, { timeoutMs: 4_000 }),
    // Behind one that has more time: with it, or it could be sent first.
    client.publish(ordered, { key: 'k', n: 2 }, { timeoutMs: 400 }),
  ];
  expect(await Promise.all(waiting.map(outcomeOf))).toEqual(['spilled', 'spilled', 'spilled']);
  weather.now = 'fine';
  const messages = await handled(client, ordered);
  await until('they were handled', () => messages.length >= 3);
  expect([...new Set(messages.map(({ payload }) => payload.n))]).toEqual([0, 1, 2]);
});

it('S16: a broker that is only slow is not away: its deadline says unknown, and nothing is spilled', async () => {
  const { adapter, weather } = weatherAdapter();
  const watched = await watchedStore();
  let stuck = false;
  const client = await connect({
    adapter: {
      ...adapter,
      publish: (batch, limit) =>
        stuck && batch[0]?.key === 'slow' ? new Promise(() => undefined) : adapter.publish(batch, limit),
    },
    spill: watched.store,
  });
  await client.publish(plain, { key: 'k', n: 0 });
  stuck = true;
  const slow = client.publish(plain, { key: 'slow', n: 1 }, { timeoutMs: 300 });
  const others = setInterval(() => void client.publish(plain, { key: 'k', n: 2 }), 20);
  expect(await outcomeOf(slow)).toBe('publish-unknown unknown');
  clearInterval(others);
  expect(watched.writes).toEqual([]);
  expect(weather.now).toBe('fine');
  await client.close({ drainMs: 0 });
  await watched.store.close();
});

it.each(['disconnected', 'blocked'] as const)(
  'S16: an adapter that says it is %s is believed, though its attempts do not end',
  async (state) => {
    const { client, weather } = await open();
    await client.publish(plain, { key: 'k', n: 0 });
    weather.now = 'silent';
    const waiting = client.publish(plain, { key: 'k', n: 1 }, { timeoutMs: 60_000 });
    weather.say(state);
    expect(await waiting).toMatchObject({ outcome: 'spilled' });
    expect(await client.publish(plain, { key: 'k', n: 2 }, { timeoutMs: 60_000 })).toMatchObject({
      outcome: 'spilled',
    });
  },
);

it('S16: while a topic cannot be declared, not every publish tries to', async () => {
  const { adapter, weather } = weatherAdapter();
  const watched = await watchedStore();
  let declared = 0;
  const client = await connect({
    adapter: {
      ...adapter,
      declare(topology) {
        declared += 1;
        return adapter.declare(topology);
      },
    },
    spill: { store: watched.store, spillAfterMs: 40 },
  });
  weather.now = 'refused';
  // The second after which one may try again does not pass.
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
  expect(await client.publish(plain, { key: 'k', n: 1 })).toMatchObject({ outcome: 'spilled' });
  const before = declared;
  const more = Array.from({ length: 20 }, (_, n) => client.publish(plain, { key: 'k', n }));
  expect(declared).toBe(before);
  expect(new Set(await Promise.all(more.map(outcomeOf)))).toEqual(new Set(['spilled']));
  clock.mockRestore();
  await client.close({ drainMs: 0 });
  await watched.store.close();
});

it('S16: a topic that was never declared is spilled too, and declared when it is sent', async () => {
  const { client, weather, watched } = await open();
  weather.now = 'refused';
  expect(await client.publish(ordered, { key: 'k', n: 1 })).toMatchObject({ outcome: 'spilled' });
  expect(await client.publish(ordered, { key: 'k', n: 2 })).toMatchObject({ outcome: 'spilled' });
  weather.now = 'fine';
  await until('it was sent', async () => (await rowsIn(watched)) === 0);
  const messages = await handled(client, ordered);
  await until('both were handled', () => messages.some(({ payload }) => payload.n === 2));
  expect([...new Set(messages.map(({ payload }) => payload.n))]).toEqual([1, 2]);
});

it('S15: a spilled message that expired is parked, or dropped where its topic says so, counted from its publishing', async () => {
  const { client, weather, watched } = await open();
  const fleeting = defineTopic<Order>('fleeting', { groups: ['g'], onExpired: 'drop' });
  const messages = await handled(client);
  const dropped: string[] = [];
  client.on('dropped', ({ id }) => dropped.push(id));
  await client.publish(plain, { key: 'k', n: 0 });
  await client.publish(fleeting, { key: 'k', n: 0 });
  weather.now = 'refused';
  await client.publish(plain, { key: 'k', n: 1 }, { expiresInMs: 60 });
  await client.publish(fleeting, { key: 'k', n: 1 }, { expiresInMs: 60, id: 'gone' });
  await new Promise((resolve) => setTimeout(resolve, 80));
  weather.now = 'fine';
  await until('neither waits', async () => (await rowsIn(watched)) === 0);
  // It is told of what was settled when the store has answered, so a moment after the row is gone.
  await until('one was dropped', () => dropped.length > 0);
  expect(dropped).toEqual(['gone']);
  await client.publish(plain, { key: 'k', n: 2 });
  await until('the next one was handled', () => messages.some(({ payload }) => payload.n === 2));
  expect(messages.map(({ payload }) => payload.n)).toEqual([0, 2]);
});
