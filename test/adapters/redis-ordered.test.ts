import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BrokerAdapter, Topology } from '../../src/port.ts';
import { type Server, startServer } from '../fleet/index.ts';
import { consume, type Inbox, keyed, publish, textOf, topologyOf, until } from './port-harness.ts';
import { benchOf } from './redis-harness.ts';

let server: Server;
beforeAll(async () => {
  server = await startServer('redis');
}, 180_000);
afterAll(() => server.stop());
const bench = benchOf(() => server.url);
afterEach(() => bench.close());

const orderedTopology = (partitions: number, lanes = false): Topology =>
  topologyOf([{ name: 'g', ordered: true }], { partitions, lanes });

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

/** Messages `k:n` of one key per shard. */
const round = (topology: Topology, from: number, to: number) =>
  numbers(from, to).flatMap((n) =>
    numbers(0, topology.partitions).map((key) => keyed(topology, `${key}:${n}`, `key-${key}`, key)),
  );

/** Longer than a busy test machine holds a process up: who lives keeps its shards. */
const shardLeaseMs = 3_000;
const ofKey = (texts: readonly string[], key: number): string[] => texts.filter((text) => text.startsWith(`${key}:`));

async function setUp(partitions: number): Promise<{ adapter: BrokerAdapter; topology: Topology }> {
  const adapter = await bench.adapter();
  const topology = orderedTopology(partitions);
  await adapter.declare(topology);
  return { adapter, topology };
}

describe('redis: ordered groups', () => {
  it('shares shards out evenly, over the consumers that there are', async () => {
    const { adapter, topology } = await setUp(8);
    const inboxes: Inbox[] = [];
    for (let n = 0; n < 4; n++) inboxes.push(await consume(await bench.adapter(), topology));
    await until('each has its two shards', async () => {
      const raw = bench.raw();
      const owners = await raw.mget(numbers(0, 8).map((shard) => `hf:{${topology.topic}}:g:lease:${shard}`));
      raw.disconnect();
      const counts = Map.groupBy(owners, (owner) => owner);
      return counts.size === 4 && [...counts.values()].every((list) => list.length === 2) && !counts.has(null);
    });
    await publish(adapter, round(topology, 0, 2));
    await until('all are delivered', () => inboxes.flatMap((inbox) => inbox.texts()).length === 16);
    for (const inbox of inboxes) expect(new Set(inbox.deliveries.map(({ shard }) => shard)).size).toBe(2);
  });

  it('Trap 51: hands over in order, as suspect, what a consumer that died had not settled, and fences it', async () => {
    const { adapter, topology } = await setUp(2);
    const proxy = await bench.proxy();
    const dying = await consume(await bench.adapter({ url: proxy.url, shardLeaseMs }), topology, { prefetch: 3 });
    await publish(adapter, round(topology, 0, 5));
    await dying.count(6);
    const [first, ...rest] = dying.deliveries.filter(({ shard }) => shard === 0);
    await dying.settle('done', first!);
    await dying.count(7);
    proxy.shut();
    const heir = await consume(await bench.adapter({ shardLeaseMs }), topology, { prefetch: 10 });
    await heir.count(9);
    expect(ofKey(heir.texts(), 0)).toEqual(['0:1', '0:2', '0:3', '0:4']);
    expect(ofKey(heir.texts(), 1)).toEqual(['1:0', '1:1', '1:2', '1:3', '1:4']);
    for (const delivery of heir.deliveries) {
      const held = dying.texts().includes(textOf(delivery));
      expect([textOf(delivery), delivery.redelivered, delivery.suspect]).toEqual([textOf(delivery), held, held]);
    }
    expect(dying.revoked).toHaveLength(2);
    proxy.open();
    expect(await dying.settle('done', ...rest)).toEqual(['stale', 'stale']);
    expect(await dying.dead(rest[0]!)).toBe('stale');
    expect(await heir.settle('done', ...heir.deliveries)).toEqual(heir.deliveries.map(() => 'settled'));
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 0, inFlight: 0, dead: 0 });
  });

  it('hands everything over at once when it stops, in order and unspent', async () => {
    const { adapter, topology } = await setUp(3);
    const one = await consume(await bench.adapter({ shardLeaseMs: 3_600_000 }), topology, { prefetch: 2 });
    await publish(adapter, round(topology, 0, 4));
    await one.count(6);
    await one.source.stop();
    expect(await one.settle('done', one.deliveries[0]!)).toEqual(['stale']);
    const two = await consume(adapter, topology);
    await two.count(12);
    for (const key of [0, 1, 2]) expect(ofKey(two.texts(), key)).toEqual(numbers(0, 4).map((n) => `${key}:${n}`));
    expect(two.deliveries.some(({ suspect }) => suspect)).toBe(false);
    expect(two.deliveries.filter(({ redelivered }) => redelivered)).toHaveLength(6);
  });

  it('brings a message that was given back again before its successors', async () => {
    const { adapter, topology } = await setUp(1);
    const inbox = await consume(adapter, topology, { prefetch: 3 });
    await publish(adapter, round(topology, 0, 6));
    await inbox.count(3);
    inbox.source.pause();
    await inbox.settle('done', inbox.deliveries[0]!);
    expect(await inbox.settle('give-back', inbox.deliveries[2]!, inbox.deliveries[1]!)).toEqual(['settled', 'settled']);
    inbox.source.resume();
    await inbox.count(6);
    expect(inbox.texts()).toEqual(['0:0', '0:1', '0:2', '0:1', '0:2', '0:3']);
    expect(inbox.deliveries.slice(3).map(({ suspect }) => suspect)).toEqual([false, false, false]);
  });

  it('waits for what is in flight before it brings back what was given back', async () => {
    const { adapter, topology } = await setUp(1);
    const inbox = await consume(adapter, topology, { prefetch: 3 });
    await publish(adapter, round(topology, 0, 3));
    const [a, b, c] = await inbox.count(3);
    await inbox.settle('give-back', b!);
    await inbox.settle('done', a!);
    await publish(adapter, round(topology, 3, 4));
    expect(inbox.deliveries).toHaveLength(3);
    await inbox.settle('give-back', c!);
    await inbox.count(6);
    expect(inbox.texts().slice(3)).toEqual(['0:1', '0:2', '0:3']);
  });

  it('keeps order and loses nothing while replies are lost and connections break', async () => {
    const { adapter, topology } = await setUp(2);
    const proxy = await bench.proxy();
    const inbox = await consume(await bench.adapter({ url: proxy.url, shardLeaseMs: 60_000 }), topology, {
      prefetch: 5,
      onBatch: (batch, source) => void source().settle(batch.map((delivery) => ({ kind: 'done', delivery }))),
    });
    for (let n = 0; n < 40; n++) {
      if (n % 5 === 0) proxy.cutNextReply();
      await publish(adapter, round(topology, n, n + 1));
    }
    await until('all are seen', () => new Set(inbox.texts()).size === 80);
    for (const key of [0, 1]) {
      const first = [...new Set(ofKey(inbox.texts(), key))];
      expect(first).toEqual(numbers(0, 40).map((n) => `${key}:${n}`));
    }
    await until('all are settled', async () => (await adapter.backlog(topology, 'g')).inFlight === 0);
  });

  it('delivers the lanes of a shard to one consumer, each in its order', async () => {
    const adapter = await bench.adapter();
    const topology = orderedTopology(4, true);
    await adapter.declare(topology);
    const inboxes = [await consume(adapter, topology), await consume(await bench.adapter(), topology)];
    const batch = round(topology, 0, 3).flatMap((message) =>
      (['high', 'low'] as const).map((lane) => ({ ...message, id: `${message.id}-${lane}`, lane })),
    );
    await publish(adapter, batch);
    await until('all are delivered', () => inboxes.flatMap(({ deliveries }) => deliveries).length >= 24);
    const owners = numbers(0, 4).map((shard) =>
      inboxes.filter(({ deliveries }) =>
        deliveries.some((delivery) => delivery.shard === shard && delivery.lane === 'low'),
      ),
    );
    for (const inbox of inboxes) for (const { shard } of inbox.deliveries) expect(owners[shard]).toContain(inbox);
    for (const lane of ['high', 'low'])
      for (const shard of numbers(0, 4)) {
        const texts = inboxes.flatMap(({ deliveries }) =>
          deliveries.filter((one) => one.lane === lane && one.shard === shard).map(textOf),
        );
        expect([...new Set(texts)]).toEqual(numbers(0, 3).map((n) => `${shard}:${n}`));
      }
  });

  it('holds its shards while the server is away for less than their lease', async () => {
    const { adapter, topology } = await setUp(1);
    const proxy = await bench.proxy();
    const inbox = await consume(await bench.adapter({ url: proxy.url, shardLeaseMs: 20_000 }), topology);
    await publish(adapter, round(topology, 0, 1));
    const [a] = await inbox.count(1);
    proxy.shut();
    const settling = inbox.settle('done', a!);
    proxy.open();
    expect(await settling).toEqual(['settled']);
    await publish(adapter, round(topology, 1, 2));
    await inbox.count(2);
    expect(inbox.revoked).toEqual([]);
  });
});
