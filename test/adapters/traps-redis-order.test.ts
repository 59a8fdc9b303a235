import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { redis } from '../../adapters/redis/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import type { Delivery, Settlement, Source } from '../../src/port.ts';
import { type Server, startServer } from '../fleet/index.ts';
import { startProxy } from '../fleet/proxy.ts';
import { consume, keyed, outgoing, publish, textOf, topologyOf, until } from './port-harness.ts';
import { benchOf } from './redis-harness.ts';
import { connect } from './traps-connect.ts';

let server: Server;
beforeAll(async () => {
  server = await startServer('redis', { own: true });
}, 180_000);
afterAll(() => server.stop());
const bench = benchOf(() => server.url);
afterEach(async () => {
  vi.restoreAllMocks();
  await bench.close();
});

/** Longer than a busy test machine holds a process up: who lives keeps its shards. */
const shardLeaseMs = 3_000;

const board = () => topologyOf([{ name: 'g', ordered: true }]);
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => String(from + n));

describe('redis: shards of an ordered group', () => {
  it('S21: a new lease holder takes the whole pending list in id order first, then new entries', async () => {
    const proxy = await bench.proxy();
    const adapter = await bench.adapter();
    const topology = board();
    await adapter.declare(topology);
    const say = (texts: readonly string[]) =>
      publish(
        adapter,
        texts.map((text) => keyed(topology, text, 'k', 0)),
      );
    await say(numbers(0, 30));
    const dying = await consume(await bench.adapter({ url: proxy.url, shardLeaseMs }), topology, { prefetch: 20 });
    await dying.count(20);
    const settled = [3, 4, 11, 0];
    await dying.settle('done', ...settled.map((n) => dying.deliveries[n]!));
    await dying.count(24);
    proxy.shut();
    await say(numbers(30, 40));
    // Reads by twos, so that it could go on to new entries before it has all that is pending.
    const heir = await consume(await bench.adapter({ shardLeaseMs }), topology, {
      prefetch: 2,
      onBatch: (batch: readonly Delivery[], source: () => Source) =>
        void source().settle(batch.map((delivery) => ({ kind: 'done', delivery }))),
    });
    await heir.count(36);
    expect(heir.texts()).toEqual(numbers(0, 40).filter((text) => !settled.includes(Number(text))));
    expect(heir.deliveries.map(({ redelivered }) => redelivered)).toEqual(
      heir.texts().map((text) => Number(text) < 24),
    );
  });

  it('S21: without the present fencing token nothing can be settled, marked, read or released', async () => {
    const proxy = await bench.proxy();
    const adapter = await bench.adapter();
    const topology = board();
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(0, 6).map((text) => keyed(topology, text, 'k', 0)),
    );
    const late = await consume(await bench.adapter({ url: proxy.url, shardLeaseMs }), topology, { prefetch: 5 });
    const held = await late.count(5);
    proxy.shut();
    const heir = await consume(await bench.adapter({ shardLeaseMs }), topology, { prefetch: 5 });
    await heir.count(5);
    proxy.open();
    const marks = { late: 'yes' };
    const settlements: Settlement[] = [
      { kind: 'done', delivery: held[0]! },
      { kind: 'retry', delivery: held[1]!, delayMs: 0, marks },
      { kind: 'retry', delivery: held[2]!, delayMs: 60_000, marks },
      { kind: 'dead', delivery: held[3]!, marks },
      { kind: 'give-back', delivery: held[4]! },
    ];
    expect(await late.source.settle(settlements)).toEqual(settlements.map(() => 'stale'));
    expect(await late.source.mark!(held[0]!, marks)).toBe('stale');
    await late.source.stop();
    expect(late.deliveries).toHaveLength(5);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 1, inFlight: 5, delayed: 0, dead: 0 });
    expect(await heir.settle('done', ...heir.deliveries)).toEqual(heir.deliveries.map(() => 'settled'));
    await heir.count(6);
    expect(heir.texts()).toEqual(numbers(0, 6));
    expect(heir.deliveries.map(({ message }) => message.marks)).toEqual(heir.deliveries.map(() => ({})));
    expect(heir.revoked).toEqual([]);
  });

  it('S21: the token of a holder whose lease a failover took back is given to nobody else', async () => {
    const proxy = await bench.proxy();
    const adapter = await bench.adapter();
    const topology = board();
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(0, 4).map((text) => keyed(topology, text, 'k', 0)),
    );
    const before = await consume(await bench.adapter({ url: proxy.url, shardLeaseMs: 60_000 }), topology, {
      prefetch: 2,
    });
    const [first] = await before.count(2);
    proxy.shut();
    // As if these writes had never reached the new primary.
    const key = `hf:{${topology.topic}}:g`;
    await bench.raw().del(`${key}:fence`, `${key}:lease:0`, `${key}:live`);
    const heir = await consume(adapter, topology, { prefetch: 2 });
    await heir.count(2);
    proxy.open();
    expect(await before.settle('done', first!)).toEqual(['stale']);
    await until('it knows that it has lost the shard', () => before.revoked.length === 1);
    expect(await heir.settle('done', ...heir.deliveries)).toEqual(['settled', 'settled']);
    await heir.count(4);
    expect(heir.texts()).toEqual(numbers(0, 4));
  });
});

describe('redis: order of one key while publishing fails', () => {
  it('Trap 55: the reply to the middle message of a key is lost: it is stored once, and none overtakes it', async () => {
    const proxy = await startProxy({ target: server.url });
    const topic = defineTopic<string>(`t-${randomUUID()}`, { key: () => 'k', groups: { g: { order: 'key' } } });
    const handled: string[] = [];
    {
      await using client = await connect({ adapter: redis({ url: proxy.url, commandTimeoutMs: 600 }) });
      await client.publish(topic, 'first', { id: '0' });
      let sends = 0;
      proxy.swallow((sent) => {
        if (!sent.includes('the middle one')) return false;
        sends += 1;
        return sends === 1;
      });
      await Promise.all(
        numbers(1, 20).map((id) => client.publish(topic, id === '7' ? 'the middle one' : 'another', { id })),
      );
      expect(sends).toBeGreaterThan(1);
      expect(proxy.connections().swallowed).toBe(1);
      await client.consume(topic, { group: 'g' }, ({ id }) => void handled.push(id));
      await until('all are handled', () => handled.length >= 20);
    }
    await proxy.stop();
    expect(handled).toEqual(numbers(0, 20));
  });

  it('Trap 55: the middle message of a key is refused for want of replicas: none overtakes it', async () => {
    const topic = defineTopic<string>(`t-${randomUUID()}`, { key: () => 'k', groups: { g: { order: 'key' } } });
    await using client = await connect({ adapter: redis({ url: server.url }) });
    await client.publish(topic, 'first', { id: '0' });
    const raw = bench.raw();
    await raw.config('RESETSTAT');
    await raw.config('SET', 'min-replicas-to-write', '1');
    const publishing = numbers(1, 20).map((id) => client.publish(topic, 'another', { id, timeoutMs: 30_000 }));
    await until('it is refused', async () => /errorstat_NOREPLICAS:count=[1-9]/.test(await raw.info('errorstats')));
    await raw.config('SET', 'min-replicas-to-write', '0');
    await Promise.all(publishing);
    const handled: string[] = [];
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.push(id));
    await until('all are handled', () => handled.length >= 20);
    expect(handled).toEqual(numbers(0, 20));
  });
});

describe('redis: clocks', () => {
  for (const [name, hours] of [
    ['an hour fast', 1],
    ['an hour slow', -1],
  ] as const)
    it(`Trap 49: a client whose clock is ${name} releases no delay early, takes no lease over and forgets no resend`, async () => {
      const now = Date.now;
      const right = await bench.adapter();
      const free = topologyOf();
      const ordered = board();
      for (const topology of [free, ordered]) await right.declare(topology);
      await publish(right, [
        outgoing(free, 'held'),
        keyed(ordered, 'held', 'k', 0),
        outgoing(free, 'hour', { delayMs: 1_800_000 }),
      ]);
      const [one, two] = [await consume(right, free), await consume(right, ordered)];
      await Promise.all([one.count(1), two.count(1)]);
      one.source.pause();

      vi.spyOn(Date, 'now').mockImplementation(() => now() + hours * 3_600_000);
      const skewed = await bench.adapter();
      const inbox = await consume(skewed, free);
      const rival = await consume(skewed, ordered);
      const start = performance.now();
      await publish(skewed, [outgoing(free, 'soon', { delayMs: 700 }), outgoing(free, 'held')]);
      await inbox.count(1);
      expect(performance.now() - start).toBeGreaterThanOrEqual(699);
      expect(inbox.texts()).toEqual(['soon']);
      const retriedAt = performance.now();
      await inbox.retry(inbox.deliveries[0]!, 600, { attempts: '1' });
      await inbox.count(2);
      expect(performance.now() - retriedAt).toBeGreaterThanOrEqual(599);
      expect(await right.backlog(free, 'g')).toMatchObject({ inFlight: 2, delayed: 1 });
      expect(textOf(inbox.deliveries[1]!)).toBe('soon');
      expect(rival.deliveries).toEqual([]);
      expect(await two.settle('done', two.deliveries[0]!)).toEqual(['settled']);
      expect(await one.settle('done', one.deliveries[0]!)).toEqual(['settled']);
    });
});
