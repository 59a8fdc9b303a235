import { randomUUID } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { memoryBroker } from '../../../adapters/memory/index.ts';
import { type Client, type ConnectOptions, connect, defineTopic, isHoldfastError } from '../../../src/index.ts';
import type { Message } from '../../../src/message.ts';
import type { SpillOptions } from '../../../src/outbox/spill-options.ts';
import { until, type Watched, type Weather, watchedStore, weatherAdapter } from './spill-fixture.ts';

interface Order {
  readonly key: string;
  readonly n: number;
}
const plain = defineTopic<Order>('plain', { groups: ['g'], key: ({ key }) => key });
const ordered = defineTopic<Order>('ordered', {
  groups: { g: { order: 'key' } },
  key: ({ key }) => key,
  partitions: 4,
});

/** Patience short enough for a test, and a circuit that stays closed. */
const closedCircuit = { minCalls: 1_000_000 };

async function open(
  more: Partial<Omit<ConnectOptions, 'spill'>> & { readonly spill?: Partial<SpillOptions> } = {},
  reuse: { readonly watched?: Watched; readonly broker?: ReturnType<typeof memoryBroker> } = {},
): Promise<{ readonly client: Client; readonly weather: Weather; readonly watched: Watched }> {
  const watched = reuse.watched ?? (await watchedStore());
  const { adapter, weather } = weatherAdapter(reuse.broker);
  const client = await connect({
    adapter,
    source: 'web',
    breaker: closedCircuit,
    ...more,
    spill: { store: watched.store, spillAfterMs: 40, ...more.spill },
  });
  onTestFinished(async () => {
    weather.now = 'fine';
    await client.close();
    if (reuse.watched === undefined) await watched.store.close();
  });
  return { client, weather, watched };
}

const outcomeOf = (publishing: Promise<{ readonly outcome: string }>): Promise<string> =>
  publishing.then(
    ({ outcome }) => outcome,
    (error: unknown) => (isHoldfastError(error) ? `${error.code} ${error.outcome}` : String(error)),
  );

async function handled(client: Client, topic = plain): Promise<Message<Order>[]> {
  const messages: Message<Order>[] = [];
  await client.consume(topic, { group: 'g', concurrency: 100 }, (message) => void messages.push(message));
  return messages;
}
const rowsIn = async ({ store }: Watched): Promise<number> => (await store.spill!.state()).rows;

describe('spill', () => {
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

  it('S16: writes are batched', async () => {
    const { client, weather, watched } = await open();
    await client.publish(plain, { key: 'k', n: 0 });
    weather.now = 'refused';
    const orders = Array.from({ length: 1_000 }, (_, n) => ({ key: `k${n}`, n }));
    const results = await client.publishAll(plain, orders);
    expect(results.every((result) => result.ok && result.receipt.outcome === 'spilled')).toBe(true);
    expect(watched.writes.length).toBeLessThan(20);
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

  it('S16: close sends what can be sent', async () => {
    const { client, weather, watched } = await open();
    await client.publish(plain, { key: 'k', n: 0 });
    weather.now = 'refused';
    await client.publishAll(
      plain,
      Array.from({ length: 100 }, (_, n) => ({ key: 'k', n })),
    );
    weather.now = 'fine';
    await until('sending has begun', async () => (await rowsIn(watched)) < 100);
    expect(await client.close()).toMatchObject({ spilled: 0 });
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
    expect(dropped).toEqual(['gone']);
    await client.publish(plain, { key: 'k', n: 2 });
    await until('the next one was handled', () => messages.some(({ payload }) => payload.n === 2));
    expect(messages.map(({ payload }) => payload.n)).toEqual([0, 2]);
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
    await expect(connect({ adapter, spill: { store: watched.store, maxByte: 1 } as never })).rejects.toThrow(
      /maxBytes/,
    );
    await watched.store.close();
    await expect(connect({ adapter, spill: watched.store })).rejects.toMatchObject({ code: 'spill-failed' });
  });
});
