/** The store: what it holds, what it refuses, and how a client ends. */

import { expect, it } from 'vitest';
import { memoryBroker } from '../../../adapters/memory/index.ts';
import { connect } from '../../../src/index.ts';
import { handled, open, outcomeOf, plain, rowsIn, until, watchedStore, weatherAdapter } from './spill-fixture.ts';

it('S16: a full store refuses: not-sent, or unknown after a doubtful attempt, with why it could not be sent', async () => {
  const { client, weather, watched } = await open({ spill: { maxBytes: 3_000 } });
  const messages = await handled(client);
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  const publishing = Array.from({ length: 20 }, (_, n) => client.publish(plain, { key: 'k', n: n + 1 }));
  const outcomes = await Promise.all(publishing.map(outcomeOf));
  const spilled = outcomes.filter((outcome) => outcome === 'spilled').length;
  expect(new Set(outcomes)).toEqual(new Set(['spilled', 'spill-full not-sent']));
  const state = await watched.store.spill!.state();
  expect(state.rows).toBe(spilled);
  expect(state.bytes).toBeLessThanOrEqual(3_000);
  const error = await client.publish(plain, { key: 'k', n: 99 }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: 'spill-full',
    outcome: 'not-sent',
    retryable: true,
    details: { maxBytes: 3_000 },
  });
  weather.now = 'doubtful';
  await until('one was doubtful', async () => {
    const outcome = await outcomeOf(client.publish(plain, { key: 'k', n: 100 }));
    return outcome === 'spill-full unknown';
  });
  weather.now = 'fine';
  await until('there is room again', async () => (await rowsIn(watched)) === 0);
  weather.now = 'refused';
  await until(
    'it spills again',
    async () => (await outcomeOf(client.publish(plain, { key: 'k', n: 101 }))) === 'spilled',
  );
  weather.now = 'fine';
  await until('all that was accepted was handled', () => messages.length > spilled);
});

it('S16: a store that fails refuses with its error as the cause, and takes the next', async () => {
  const { client, weather, watched } = await open();
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  const failure = new Error('disk full');
  watched.before = async () => {
    throw failure;
  };
  const error = await client.publish(plain, { key: 'k', n: 1 }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'spill-failed', outcome: 'not-sent', cause: failure });
  watched.before = async () => {
    throw Object.assign(new Error('the reply to COMMIT was lost'), { outcome: 'unknown' });
  };
  expect(await outcomeOf(client.publish(plain, { key: 'k', n: 2 }))).toBe('spill-failed unknown');
  watched.before = undefined;
  expect(await outcomeOf(client.publish(plain, { key: 'k', n: 3 }))).toBe('spilled');
});

it('S16: writes are batched', async () => {
  const { client, weather, watched } = await open();
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  const orders = Array.from({ length: 1_000 }, (_, n) => ({ key: `k${n}`, n }));
  const results = await client.publishAll(plain, orders);
  expect(results.every((result) => result.ok && result.receipt.outcome === 'spilled')).toBe(true);
  expect(watched.writes.length).toBeLessThan(20);
});

it('S16: what one client has spilled the next one with that store sends', async () => {
  const broker = memoryBroker();
  const watched = await watchedStore();
  const first = await open({}, { watched, broker });
  await first.client.publish(plain, { key: 'k', n: 0 });
  first.weather.now = 'refused';
  await first.client.publish(plain, { key: 'k', n: 1 }, { id: 'left behind' });
  expect(await first.client.close()).toMatchObject({ spilled: 1 });
  const next = await open({}, { watched, broker });
  const messages = await handled(next.client);
  await until('it was delivered', () => messages.some(({ id, source }) => id === 'left behind' && source === 'web'));
  await until('it is gone', async () => (await rowsIn(watched)) === 0);
});

it('S16: close spills what waits, drains what it can, and says what is left', async () => {
  const { client, weather, watched } = await open({ spill: { spillAfterMs: 60_000 } });
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  const waiting = [1, 2, 3].map((n) => outcomeOf(client.publish(plain, { key: 'k', n })));
  const closed = client.close({ drainMs: 200 });
  expect(await Promise.all(waiting)).toEqual(['spilled', 'spilled', 'spilled']);
  expect(await closed).toMatchObject({ unknown: 0, spilled: 3 });
  expect(await rowsIn(watched)).toBe(3);
});

it('S16: close waits for what is being sent', async () => {
  const { adapter, weather } = weatherAdapter();
  const watched = await watchedStore();
  const sending = Promise.withResolvers<void>();
  const closing = Promise.withResolvers<void>();
  const client = await connect({
    adapter: {
      ...adapter,
      async publish(batch, limit) {
        if (weather.now === 'fine' && batch[0]?.id === 'spilled') {
          sending.resolve();
          await closing.promise;
        }
        return adapter.publish(batch, limit);
      },
    },
    spill: { store: watched.store, spillAfterMs: 40 },
  });
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  await client.publish(plain, { key: 'k', n: 1 }, { id: 'spilled' });
  weather.now = 'fine';
  // It is known that the broker is back.
  await until('it confirms', async () => (await client.publish(plain, { key: 'k', n: 2 })).outcome === 'confirmed');
  await sending.promise;
  const closed = client.close();
  closing.resolve();
  expect(await closed).toMatchObject({ spilled: 0 });
  await watched.store.close();
});

it('S16: after close nothing of the client uses the store, which may be closed now', async () => {
  const watched = await watchedStore();
  const { outbox } = watched.store;
  const releases: string[] = [];
  const slow = {
    ...outbox.relay,
    async release(owner: string) {
      releases.push('begun');
      await new Promise((resolve) => setTimeout(resolve, 100));
      await outbox.relay.release(owner);
      releases.push('done');
    },
  };
  const store = { ...watched.store, outbox: { ...outbox, relay: slow } };
  const { client, weather } = await open({ spill: { store } }, { watched });
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  await client.publish(plain, { key: 'k', n: 1 });
  weather.now = 'fine';
  await until('it is sent', async () => (await rowsIn(watched)) === 0);
  expect(await client.close()).toMatchObject({ spilled: 0 });
  expect(releases).toEqual(['begun', 'done']);
  await watched.store.close();
});

it('S16: health says what waits, and is no less ready for it; events say when it begins and ends', async () => {
  const { client, weather } = await open();
  const spilled: unknown[] = [];
  let drained = 0;
  client.on('spilled', (event) => spilled.push(event));
  client.on('spill-drained', () => {
    drained += 1;
  });
  let failed = 0;
  client.on('published', (event) => {
    failed += event.failed;
  });
  await client.publish(plain, { key: 'k', n: 0 });
  const check = async () => (await client.health()).checks.find(({ name }) => name === 'spill');
  expect(await check()).toEqual({ name: 'spill', ok: true, detail: '0 messages wait, 0 bytes' });
  weather.now = 'refused';
  await client.publish(plain, { key: 'k', n: 1 });
  expect(await client.health()).toMatchObject({ live: true, ready: true });
  expect((await check())?.detail).toMatch(/^1 messages wait, \d+ bytes, the oldest for 0 s$/);
  expect(spilled).toEqual([{ topic: 'plain', count: 1, bytes: expect.any(Number) }]);
  weather.now = 'fine';
  await until('it was drained', () => drained === 1);
  // Each message counts once: as spilled.
  expect(failed).toBe(0);
});

it('S16: aborting a publish that is being stored says unknown; the message is sent all the same', async () => {
  const { client, weather, watched } = await open();
  const messages = await handled(client);
  await client.publish(plain, { key: 'k', n: 0 });
  weather.now = 'refused';
  const abort = new AbortController();
  let writing = false;
  const hold = Promise.withResolvers<void>();
  watched.before = () => {
    writing = true;
    return hold.promise;
  };
  const publishing = outcomeOf(client.publish(plain, { key: 'k', n: 1 }, { signal: abort.signal }));
  await until('it is being written', () => writing);
  abort.abort();
  expect(await publishing).toBe('publish-aborted unknown');
  hold.resolve();
  weather.now = 'fine';
  await until('it was handled', () => messages.length === 2);
});

it('S16: connect refuses what cannot keep messages, naming the option', async () => {
  const { adapter } = weatherAdapter();
  const watched = await watchedStore();
  const { spill: _, ...without } = watched.store;
  await expect(connect({ adapter, spill: {} as never })).rejects.toThrow(/spill/);
  await expect(connect({ adapter, spill: without })).rejects.toThrow(/spill/);
  await expect(connect({ adapter, spill: 'sqlite' as never })).rejects.toThrow(TypeError);
  await expect(connect({ adapter, spill: { store: watched.store, maxBytes: 0 } })).rejects.toThrow(/maxBytes/);
  await expect(connect({ adapter, spill: { store: watched.store, maxByte: 1 } as never })).rejects.toThrow(/maxBytes/);
  await watched.store.close();
  await expect(connect({ adapter, spill: watched.store })).rejects.toMatchObject({ code: 'spill-failed' });
});
