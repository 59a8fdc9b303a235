import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AdapterEvent, BrokerAdapter, StoredLetter } from '../../src/port.ts';
import { type Server, startServer } from '../fleet/index.ts';
import { consume, outgoing, publish, textOf, topologyOf, until } from './port-harness.ts';
import { portPromises } from './port-promises.ts';
import { benchOf } from './redis-harness.ts';

let server: Server;
beforeAll(async () => {
  server = await startServer('redis');
}, 180_000);
afterAll(() => server.stop());
const bench = benchOf(() => server.url);
afterEach(() => bench.close());

portPromises('redis', async () => ({
  client: () => bench.adapter(),
  now: Date.now,
  pass: (ms) => sleep(ms),
  end: () => bench.close(),
}));

const streamOf = (topic: string, rest = 'g:normal'): string => `hf:{${topic}}:${rest}`;

describe('redis: messages', () => {
  it('carries binary bodies of many sizes, and headers in any script, unchanged', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    const bodies = [0, 1, 255, 65_536, 3_000_000].map((size) =>
      Buffer.from(Array.from({ length: size }, (_, n) => n % 251)),
    );
    const headers = { 'trace-id': '漢字 ✓ ü', empty: '', long: 'é'.repeat(5_000) };
    for (const [n, body] of bodies.entries())
      expect(await publish(adapter, [outgoing(topology, `${n}`, { body, headers, key: 'ключ' })])).toMatchObject([
        { kind: 'confirmed' },
      ]);
    await inbox.count(bodies.length);
    for (const [n, { message }] of inbox.deliveries.entries()) {
      expect(Buffer.compare(message.body, bodies[n]!)).toBe(0);
      expect(message).toMatchObject({ headers, key: 'ключ', marks: {} });
    }
  });

  it('confirms with the entry id, which the delivery names as its position', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const [outcome] = await publish(adapter, [outgoing(topology, 'a')]);
    const inbox = await consume(adapter, topology);
    const [a] = await inbox.count(1);
    expect(outcome).toEqual({ kind: 'confirmed', position: expect.stringMatching(/^\d+-\d+$/) });
    expect(a!.position).toBe(`${streamOf(topology.topic)}/${(outcome as { position: string }).position}`);
  });

  it('delivers what a raw client adds, whatever its fields are called, the same body on every copy', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    const raw = bench.raw();
    const key = streamOf(topology.topic);
    await raw.xadd(key, '*', 'body', 'one', 'colour', 'blue', 'x-death', 'no', 'hf-attempts', '3');
    await raw.xadd(key, '*', 'data', 'two', 'ce_id', 'ev-2', 'ce_source', 'shop', 'ce_time', '2026-01-02T03:04:05Z');
    await raw.xadd(key, '*', 'anything', Buffer.from([0, 255]));
    await raw.xadd(key, '*', 'name', 'Ada', 'age', '36');
    const [one, two, three, four] = await inbox.count(4);
    expect(textOf(one!)).toBe('one');
    expect(one!.message).toMatchObject({
      id: undefined,
      source: undefined,
      headers: { colour: 'blue' },
      publishedAt: undefined,
    });
    expect(textOf(two!)).toBe('two');
    expect(two!.message).toMatchObject({ id: 'ev-2', source: 'shop', publishedAt: Date.parse('2026-01-02T03:04:05Z') });
    expect([...three!.message.body]).toEqual([0, 255]);
    expect(JSON.parse(textOf(four!))).toEqual({ name: 'Ada', age: '36' });
    expect(four!.message.contentType).toBe('application/json');

    expect(await inbox.retry(four!, 0, { attempts: '1' })).toBe('settled');
    const again = (await inbox.count(5))[4]!;
    expect(textOf(again)).toBe(textOf(four!));
    expect(again.message).toMatchObject({ id: four!.position, marks: { attempts: '1' } });
    expect(await inbox.dead(again, { reason: 'x' })).toBe('settled');
    const letters: StoredLetter[] = [];
    for await (const page of adapter.deadLetters(topology, 'g').scan({ pageSize: 10, signal: undefined }))
      letters.push(...page);
    expect(letters[0]!.message).toMatchObject({
      id: four!.position,
      marks: { reason: 'x' },
      contentType: 'application/json',
    });
  });

  it('keeps nothing of what is settled, and everything of what is not', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(
      adapter,
      ['a', 'b', 'c', 'd'].map((text) => outgoing(topology, text)),
    );
    const inbox = await consume(adapter, topology, { prefetch: 3 });
    const [a, b] = await inbox.count(3);
    await inbox.settle('done', b!, a!);
    await inbox.count(4);
    const raw = bench.raw();
    expect(await raw.xlen(streamOf(topology.topic))).toBe(2);
    await inbox.settle('done', ...inbox.deliveries.slice(2));
    await inbox.source.stop();
    expect(await raw.xlen(streamOf(topology.topic))).toBe(0);
    expect(await raw.xinfo('CONSUMERS', streamOf(topology.topic), 'g')).toEqual([]);
  });
});

describe('redis: topology', () => {
  it('refuses a topic that has lost its lanes, and says what to do; it may gain them', async () => {
    const adapter = await bench.adapter();
    const without = topologyOf();
    const lanes = { ...without, lanes: true };
    for (const topology of [without, without, lanes, lanes]) await adapter.declare(topology);
    const remedy = `HSET hf:{${without.topic}} lanes 0`;
    const refused = { adapterCode: 'topology-conflict', message: expect.stringContaining(remedy) };
    for (const declare of ['create', 'verify'] as const) {
      const other = await bench.adapter({}, [], { declare });
      await expect(other.declare(without)).rejects.toMatchObject(refused);
      await other.declare(lanes);
    }
    await bench.raw().hset(`hf:{${without.topic}}`, 'lanes', '0');
    await adapter.declare(without);
  });

  it('refuses lanes that the topic has not, where it may only verify', async () => {
    const adapter = await bench.adapter();
    const without = topologyOf();
    await adapter.declare(without);
    const verifier = await bench.adapter({}, [], { declare: 'verify' });
    await verifier.declare(without);
    const missing = { adapterCode: 'topology-missing', message: expect.stringContaining('lanes') };
    await expect(verifier.declare({ ...without, lanes: true })).rejects.toMatchObject(missing);
  });

  it('warns a client that reconnects to a topic that has changed, and serves it as before', async () => {
    const proxy = await bench.proxy();
    const events: AdapterEvent[] = [];
    const old = await bench.adapter({ url: proxy.url }, events);
    const without = topologyOf();
    await old.declare(without);
    const inbox = await consume(old, without);
    await (await bench.adapter()).declare({ ...without, lanes: true });
    proxy.shut();
    proxy.open();
    await until('it is warned', () =>
      events.some((event) => event.type === 'warning' && event.code === 'topology-conflict'),
    );
    await until('it publishes', async () => (await publish(old, [outgoing(without, 'a')]))[0]!.kind === 'confirmed');
    await inbox.count(1);
  });
});

describe('redis: publish dedupe', () => {
  it('S12: stores a message that is published again once, and confirms it each time', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf([
      { name: 'one', ordered: false },
      { name: 'two', ordered: false },
    ]);
    await adapter.declare(topology);
    const same = outgoing(topology, 'a');
    const delayed = outgoing(topology, 'later', { delayMs: 600_000 });
    for (let round = 0; round < 3; round++)
      expect((await publish(adapter, [same, delayed, same])).map(({ kind }) => kind)).toEqual([
        'confirmed',
        'confirmed',
        'confirmed',
      ]);
    for (const group of ['one', 'two'])
      expect(await adapter.backlog(topology, group)).toMatchObject({ ready: 1, delayed: 1 });
  });

  it('S12: takes the dedupe key for the identity, else source and id together', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [
      outgoing(topology, 'a', { id: '1', source: 'x' }),
      outgoing(topology, 'b', { id: '1', source: 'y' }),
      outgoing(topology, 'c', { id: '2', dedupeKey: 'k' }),
      outgoing(topology, 'd', { id: '3', dedupeKey: 'k' }),
      outgoing(topology, 'e', { id: 'k' }),
    ]);
    const inbox = await consume(adapter, topology);
    await inbox.count(4);
    expect(inbox.texts()).toEqual(['a', 'b', 'c', 'e']);
  });

  it('Trap 21: stores once what it sends again after the connection broke behind the first', async () => {
    const proxy = await bench.proxy();
    const adapter = await bench.adapter({ url: proxy.url });
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [outgoing(topology, 'first')]);
    const batch = Array.from({ length: 50 }, (_, n) => outgoing(topology, String(n)));
    proxy.cutNextReply();
    const outcomes = await publish(adapter, batch);
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['unknown']));
    expect(outcomes.every((outcome) => outcome.kind === 'unknown' && adapter.isTransient(outcome.error))).toBe(true);
    await until('it is confirmed', async () =>
      (await publish(adapter, batch)).every(({ kind }) => kind === 'confirmed'),
    );
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 51 });
  });

  it('Trap 29: a resend after two windows is stored again', async () => {
    const adapter = await bench.adapter({ dedupeWindowMs: 1_000 });
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    const raw = bench.raw();
    await until('nothing is remembered', async () => (await raw.keys(`hf:{${topology.topic}}:_:seen:*`)).length === 0);
    await publish(adapter, [outgoing(topology, 'a')]);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 2 });
  });
});

describe('redis: leases of an unordered group', () => {
  /** A consumer with unsettled deliveries behind a connection that is gone. */
  async function crashed(prefetch: number, leaseMs: number) {
    const proxy = await bench.proxy();
    const [dying, adapter] = await Promise.all([bench.adapter({ url: proxy.url }), bench.adapter()]);
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(
      adapter,
      ['a', 'b', 'c'].map((text) => outgoing(topology, text)),
    );
    const inbox = await consume(dying, topology, { prefetch, leaseMs });
    await inbox.count(Math.min(prefetch, 3));
    proxy.shut();
    return { proxy, inbox, adapter, topology };
  }

  it('redelivers as suspect, after the lease, what a consumer that died had not settled', async () => {
    const { adapter, topology } = await crashed(2, 300);
    const other = await consume(adapter, topology, { leaseMs: 300 });
    await other.count(3);
    expect(other.texts().sort()).toEqual(['a', 'b', 'c']);
    for (const delivery of other.deliveries) {
      const held = textOf(delivery) !== 'c';
      expect(delivery).toMatchObject({ redelivered: held, suspect: held });
    }
    expect(other.deliveries[0]!.message.marks).toEqual({});
  });

  it('Trap 24: settles nothing for a consumer whose lease another has taken over', async () => {
    const { proxy, inbox, adapter, topology } = await crashed(3, 300);
    const rival = await consume(adapter, topology, { leaseMs: 300 });
    await rival.count(3);
    proxy.open();
    const settled = await inbox.source.settle([
      { kind: 'done', delivery: inbox.deliveries[0]! },
      { kind: 'dead', delivery: inbox.deliveries[1]!, marks: {} },
      { kind: 'retry', delivery: inbox.deliveries[2]!, delayMs: 0, marks: {} },
    ]);
    expect(settled).toEqual(['stale', 'stale', 'stale']);
    expect(await rival.settle('done', ...rival.deliveries)).toEqual(['settled', 'settled', 'settled']);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
  });

  it('S21: keeps what is extended from everybody else, and does not steal back what is lost', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const one = await consume(adapter, topology, { leaseMs: 400 });
    await publish(adapter, [outgoing(topology, 'kept'), outgoing(topology, 'lost')]);
    const [kept, lost] = await one.count(2);
    one.source.pause();
    const two = await consume(await bench.adapter(), topology, { leaseMs: 400 });
    const renewing = setInterval(() => void one.source.extend([kept!]), 100);
    try {
      await two.count(1);
      await one.source.extend([kept!, lost!]);
      expect(two.texts()).toEqual(['lost']);
      expect(await one.settle('done', lost!, kept!)).toEqual(['stale', 'settled']);
      expect(await two.settle('done', two.deliveries[0]!)).toEqual(['settled']);
    } finally {
      clearInterval(renewing);
    }
  });

  it('gives back to a consumer that waits for new messages, at once and unspent', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf([{ name: 'g', ordered: false }], { lanes: true });
    await adapter.declare(topology);
    const one = await consume(adapter, topology);
    await publish(
      adapter,
      ['a', 'b', 'c'].map((text) => outgoing(topology, text, { lane: 'low' })),
    );
    await one.count(3);
    const two = await consume(await bench.adapter(), topology, { leaseMs: 3_600_000 });
    one.source.pause();
    expect(await one.settle('give-back', ...one.deliveries)).toEqual(['settled', 'settled', 'settled']);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ exact: true, delayed: 0 });
    await two.count(3);
    expect(two.texts()).toEqual(['a', 'b', 'c']);
    expect(two.deliveries.map(({ suspect, message }) => [suspect, message.marks])).toEqual(Array(3).fill([false, {}]));
  });

  it('counts what is given back as ready while nobody takes it', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const one = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a'), outgoing(topology, 'b')]);
    const [a] = await one.count(2);
    one.source.pause();
    await one.settle('give-back', a!);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 1, inFlight: 1 });
  });

  it('delivers what was taken for it in a reply that never arrived, without waiting for the lease', async () => {
    const proxy = await bench.proxy();
    const adapter = await bench.adapter({ url: proxy.url });
    const topology = topologyOf();
    const publisher = await bench.adapter();
    await publisher.declare(topology);
    const inbox = await consume(adapter, topology, { leaseMs: 3_600_000 });
    await publish(publisher, [outgoing(topology, 'a')]);
    await inbox.count(1);
    proxy.cutNextReply();
    await publish(publisher, [outgoing(topology, 'b')]);
    await publish(publisher, [outgoing(topology, 'c')]);
    await until('all have come', () => new Set(inbox.texts()).size === 3);
    expect(inbox.deliveries).toHaveLength(3);
    expect(await inbox.settle('done', ...inbox.deliveries)).toEqual(['settled', 'settled', 'settled']);
  });

  it('S18: knows a suspect, and its marks, also where the reply to its takeover never arrived', async () => {
    const [dying, proxy, adapter] = [await bench.proxy(), await bench.proxy(), await bench.adapter()];
    const topology = topologyOf();
    await adapter.declare(topology);
    const options = { leaseMs: 3_600_000, prefetch: 1 };
    const heir = await consume(await bench.adapter({ url: proxy.url }), topology, options);
    await publish(adapter, [outgoing(topology, 'holds it up')]);
    const [first] = await heir.count(1);
    const [raw, stream] = [bench.raw(), streamOf(topology.topic)];
    const [[, name]] = (await raw.xpending(stream, 'g', '-', '+', 1)) as [[string, string]];
    const dead = await consume(await bench.adapter({ url: dying.url }), topology, options);
    await publish(adapter, [outgoing(topology, 'poison')]);
    const [poison] = await dead.count(1);
    const marks = { attempts: '2' };
    expect(await dead.source.mark!(poison!, marks)).toBe('settled');
    dying.shut();
    // As the script takes what has been idle for a lease.
    await raw.xclaim(stream, 'g', name, 0, poison!.position.split('/').at(-1)!);
    proxy.shut();
    proxy.open();
    await heir.settle('done', first!);
    await heir.count(2);
    expect(heir.deliveries[1]).toMatchObject({ redelivered: true, suspect: true, message: { id: 'id-poison', marks } });
    await heir.settle('done', heir.deliveries[1]!);
    expect(await raw.exists(streamOf(topology.topic, 'g:marks')), 'marks are forgotten with their entries').toBe(0);
  });
});

describe('redis: retries and delays', () => {
  it('delivers a retry on time though the consumer that delayed it is gone', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const one = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    const [a] = await one.count(1);
    const notBefore = Date.now() + 400;
    expect(await one.retry(a!, 400, { attempts: '1' })).toBe('settled');
    await one.source.stop();
    const two = await consume(await bench.adapter(), topology);
    await two.count(1);
    expect(Date.now()).toBeGreaterThanOrEqual(notBefore);
    expect(two.deliveries[0]).toMatchObject({ redelivered: false, message: { id: 'id-a', marks: { attempts: '1' } } });
  });

  it('moves far more than one step takes, each once, over several consumers', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const inboxes = await Promise.all(
      [1, 2, 3].map(async () => consume(await bench.adapter(), topology, { prefetch: 1_000 })),
    );
    await publish(
      adapter,
      Array.from({ length: 450 }, (_, n) => outgoing(topology, String(n), { delayMs: 50 + (n % 7) })),
    );
    const all = () => inboxes.flatMap((inbox) => inbox.texts());
    await until('all are delivered', () => all().length >= 450);
    expect(new Set(all()).size).toBe(450);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ delayed: 0, inFlight: 450, ready: 0 });
  });
});

describe('redis: dead letters', () => {
  async function withLetters(adapter: BrokerAdapter, count: number) {
    const topology = topologyOf([{ name: 'g', ordered: false }], { lanes: true });
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology, { prefetch: count });
    await publish(
      adapter,
      Array.from({ length: count }, (_, n) => outgoing(topology, String(n), { lane: 'low' })),
    );
    await inbox.count(count);
    const settled = await inbox.source.settle(
      inbox.deliveries.map((delivery) => ({ kind: 'dead', delivery, marks: { reason: 'r' } })),
    );
    expect(new Set(settled)).toEqual(new Set(['settled']));
    return { topology, inbox, letters: adapter.deadLetters(topology, 'g') };
  }

  it('replays to the lane it came from while scanning, and never walks into what dies again', async () => {
    const adapter = await bench.adapter();
    const { topology, inbox, letters } = await withLetters(adapter, 7);
    let walked = 0;
    for await (const page of letters.scan({ pageSize: 3, signal: undefined })) {
      walked += page.length;
      expect(page.every(({ lane }) => lane === 'low')).toBe(true);
      expect(await letters.replay(page, { replays: '1' })).toEqual(page.map(() => 'settled'));
      await inbox.count(7 + walked);
      for (const delivery of inbox.deliveries.slice(7 + walked - page.length)) {
        expect(delivery).toMatchObject({ lane: 'low', message: { marks: { replays: '1' } } });
        await inbox.dead(delivery);
      }
    }
    expect(walked).toBe(7);
    expect(await letters.count()).toBe(7);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 0, inFlight: 0, dead: 7 });
  });

  it('Trap 50: loses and doubles nothing when the replay is interrupted and done again', async () => {
    const adapter = await bench.adapter();
    const { topology } = await withLetters(adapter, 20);
    const proxy = await bench.proxy();
    const operator = await bench.adapter({ url: proxy.url });
    const letters = operator.deadLetters(topology, 'g');
    const found: StoredLetter[] = [];
    for await (const page of letters.scan({ pageSize: 100, signal: undefined })) found.push(...page);
    proxy.cutNextReply();
    expect(new Set(await letters.replay(found, {}))).toEqual(new Set(['unknown']));
    expect(new Set(await letters.replay(found, {}))).toEqual(new Set(['stale']));
    const { dead, ready, inFlight } = await adapter.backlog(topology, 'g');
    expect([dead, ready! + inFlight!]).toEqual([0, 20]);
  });
});
