import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { redis } from '../../adapters/redis/index.ts';
import type { AdapterEvent, BrokerAdapter, Outgoing, PublishOutcome } from '../../src/port.ts';
import { type Server, startServer } from '../fleet/index.ts';
import { consume, hooksOf, keyed, outgoing, publish, topologyOf, until } from './port-harness.ts';
import { benchOf, versionAt } from './redis-harness.ts';

const servers: Server[] = [];
async function own(config: Record<string, string> = {}): Promise<Server> {
  const server = await startServer('redis', { own: true, config });
  servers.push(server);
  return server;
}
let shared: Server;
beforeAll(async () => {
  shared = await own();
}, 180_000);
afterAll(async () => {
  for (const server of servers) await server.stop();
});
const bench = benchOf(() => shared.url);
afterEach(() => bench.close());

/** Publishes until each is confirmed; counts what every call said. */
async function publishAll(
  adapter: BrokerAdapter,
  batch: readonly Outgoing[],
  seen: PublishOutcome['kind'][],
): Promise<void> {
  let left = batch;
  while (left.length > 0) {
    const outcomes = await publish(adapter, left);
    expect(outcomes).toHaveLength(left.length);
    seen.push(...outcomes.map(({ kind }) => kind));
    for (const outcome of outcomes)
      if (outcome.kind !== 'confirmed') expect('error' in outcome && adapter.isTransient(outcome.error)).toBe(true);
    left = left.filter((_, index) => outcomes[index]!.kind !== 'confirmed');
    if (left.length > 0) await sleep(10);
  }
}

describe('redis: outages', () => {
  for (const ordered of [false, true])
    it(`Trap 44: settles every publish and delivers every confirmed message, once, over kill -9 (ordered: ${ordered})`, async () => {
      const server = await own();
      const url = server.url;
      const events: AdapterEvent[] = [];
      const adapter = await bench.adapter({ url }, events);
      const topology = topologyOf([{ name: 'g', ordered }], { partitions: 2 });
      await adapter.declare(topology);
      const inbox = await consume(await bench.adapter({ url }), topology, {
        prefetch: 50,
        leaseMs: 60_000,
        onBatch: (batch, source) => void source().settle(batch.map((delivery) => ({ kind: 'done', delivery }))),
      });
      const seen: PublishOutcome['kind'][] = [];
      const writers = [0, 1].map(async (key) => {
        for (let n = 0; n < 100; n++) {
          const batch = Array.from({ length: 10 }, (_, i) =>
            keyed(topology, `${key}:${n * 10 + i}`, `key-${key}`, key),
          );
          await publishAll(adapter, batch, seen);
        }
      });
      for (let kill = 0; kill < 2; kill++) {
        const confirmed = () => seen.filter((kind) => kind === 'confirmed').length;
        await until('some are confirmed', () => confirmed() > 400 * (kill + 1));
        await server.kill();
        await server.restart();
      }
      await Promise.all(writers);
      await until('all are delivered', () => new Set(inbox.texts()).size === 2_000);
      if (ordered)
        for (const key of [0, 1]) {
          const first = [...new Set(inbox.texts().filter((text) => text.startsWith(`${key}:`)))];
          expect(first).toEqual(Array.from({ length: 1_000 }, (_, n) => `${key}:${n}`));
        }
      await until('all are settled', async () => {
        const { ready, inFlight } = await adapter.backlog(topology, 'g');
        return ready === 0 && inFlight === 0;
      });
      expect(events.map(({ type }) => type).slice(0, 3)).toEqual(['connected', 'disconnected', 'connected']);
      expect(events.at(-1)!.type).toBe('connected');
    });

  it('settles what was handled while the server was away', async () => {
    const server = await own();
    const adapter = await bench.adapter({ url: server.url });
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    await publish(
      adapter,
      ['a', 'b', 'c'].map((text) => outgoing(topology, text)),
    );
    const [a, b, c] = await inbox.count(3);
    await server.kill();
    const settling = Promise.all([
      inbox.settle('done', a!),
      inbox.retry(b!, 50, { attempts: '1' }),
      inbox.dead(c!, { reason: 'x' }),
    ]);
    await server.restart();
    expect(await settling).toEqual([['settled'], 'settled', 'settled']);
    await inbox.count(4);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 0, inFlight: 1, dead: 1 });
  });

  it('begins again where the server has lost everything', async () => {
    const server = await own();
    const adapter = await bench.adapter({ url: server.url });
    const free = topologyOf();
    const ordered = topologyOf([{ name: 'g', ordered: true }]);
    for (const topology of [free, ordered]) await adapter.declare(topology);
    const [one, two] = [await consume(adapter, free), await consume(adapter, ordered)];
    const { Redis } = await import('ioredis');
    const raw = new Redis(server.url);
    await raw.flushall();
    raw.disconnect();
    expect(await publish(adapter, [outgoing(free, 'a'), keyed(ordered, 'b', 'k', 0)])).toMatchObject([
      { kind: 'confirmed' },
      { kind: 'confirmed' },
    ]);
    await one.count(1);
    await two.count(1);
    expect(await one.settle('done', one.deliveries[0]!)).toEqual(['settled']);
    expect(await two.settle('done', two.deliveries.at(-1)!)).toEqual(['settled']);
  });

  it('Trap 28: notices a connection that is silent, and goes on over another', async () => {
    const proxy = await bench.proxy();
    const adapter = await bench.adapter({ url: proxy.url, commandTimeoutMs: 600 });
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    await inbox.count(1);
    proxy.freeze();
    const [lost] = await publish(adapter, [outgoing(topology, 'b')]);
    expect(lost).toMatchObject({ kind: 'unknown' });
    expect(adapter.isTransient((lost as { error: unknown }).error)).toBe(true);
    proxy.open();
    await until(
      'b is confirmed',
      async () => (await publish(adapter, [outgoing(topology, 'b')]))[0]!.kind === 'confirmed',
    );
    await inbox.count(2);
    expect(await inbox.settle('done', ...inbox.deliveries)).toEqual(['settled', 'settled']);
  });

  it('answers by the deadline, and at once when the caller gives up, while the server is frozen', async () => {
    const server = await own();
    const adapter = await bench.adapter({ url: server.url });
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    await server.pause();
    const abort = new AbortController();
    const outcomes = [
      adapter.publish([outgoing(topology, 'b')], { deadline: Date.now() + 50, signal: new AbortController().signal }),
      adapter.publish([outgoing(topology, 'c')], { deadline: Date.now() + 60_000, signal: abort.signal }),
    ];
    await outcomes[0];
    abort.abort();
    expect((await Promise.all(outcomes)).flat().map(({ kind }) => kind)).toEqual(['unknown', 'unknown']);
    await server.resume();
    const again = await publish(
      adapter,
      ['b', 'c'].map((text) => outgoing(topology, text)),
    );
    expect(again.map(({ kind }) => kind)).toEqual(['confirmed', 'confirmed']);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 3 });
  });
});

describe('redis: servers that refuse', () => {
  it('Trap 26: a full server refuses whole batches, loses nothing, and consumers can still empty it', async () => {
    const server = await own({ maxmemory: '6mb' });
    const adapter = await bench.adapter({ url: server.url });
    const free = topologyOf([
      { name: 'one', ordered: false },
      { name: 'two', ordered: false },
    ]);
    const ordered = topologyOf([{ name: 'g', ordered: true }], { partitions: 2 });
    for (const topology of [free, ordered]) await adapter.declare(topology);
    await publish(adapter, [keyed(ordered, 'b', 'k', 1)]);
    let confirmed = 0;
    let refusal: PublishOutcome | undefined;
    while (!refusal) {
      const batch = Array.from({ length: 20 }, (_, n) =>
        outgoing(free, `${confirmed + n}`, { body: Buffer.alloc(10_000) }),
      );
      const outcomes = await publish(adapter, batch);
      expect(new Set(outcomes.map(({ kind }) => kind)).size).toBe(1);
      if (outcomes[0]!.kind === 'confirmed') confirmed += 20;
      else refusal = outcomes[0];
    }
    expect(refusal).toMatchObject({ kind: 'rejected', error: { message: expect.stringMatching(/^OOM/) } });
    expect(adapter.isTransient((refusal as { error: unknown }).error)).toBe(true);
    for (const group of ['one', 'two']) expect(await adapter.backlog(free, group)).toMatchObject({ ready: confirmed });
    const shard = await consume(adapter, ordered);
    await shard.count(1);
    expect(await shard.dead(shard.deliveries[0]!)).toBe('settled');
    for (const group of ['one', 'two'])
      await consume(adapter, free, {
        group,
        onBatch: (batch, source) => void source().settle(batch.map((delivery) => ({ kind: 'done', delivery }))),
      });
    await until(
      'there is room again',
      async () => (await publish(adapter, [outgoing(free, 'last')]))[0]!.kind === 'confirmed',
    );
  });

  it('Trap 26: is unhealthy where a full server would delete messages, or syncs too seldom', async () => {
    const server = await own({ 'maxmemory-policy': 'allkeys-lru', appendfsync: 'everysec' });
    const events: AdapterEvent[] = [];
    const adapter = await bench.adapter({ url: server.url }, events);
    const warnings = events.filter((event) => event.type === 'warning').map(({ code }) => code);
    expect(warnings).toEqual(['eviction-policy', 'durability']);
    const { connected, checks } = await adapter.health();
    expect(connected).toBe(true);
    expect(checks).toMatchObject([
      { name: 'eviction-policy', ok: false },
      { name: 'durability', ok: false },
    ]);
    const modest = await bench.adapter({ url: server.url, durability: 'memory' });
    expect(modest.capabilities.durability).toBe('memory');
    expect((await modest.health()).checks.at(-1)).toMatchObject({
      name: 'durability',
      ok: true,
      detail: 'appendfsync everysec',
    });
    const healthy = await bench.adapter();
    expect((await healthy.health()).checks.every(({ ok }) => ok)).toBe(true);
  });

  it('Trap 27: confirms nothing that fewer replicas have than were asked for', async () => {
    const adapter = await bench.adapter({ durability: { replicas: 1, timeoutMs: 100 } });
    const topology = topologyOf();
    await adapter.declare(topology);
    const [outcome] = await publish(adapter, [outgoing(topology, 'a')]);
    expect(outcome).toMatchObject({ kind: 'unknown', error: { message: 'reached 0 of 1 replicas within 100 ms' } });
    expect(adapter.isTransient((outcome as { error: unknown }).error)).toBe(true);
    const inbox = await consume(adapter, topology);
    expect(await inbox.settle('done', ...(await inbox.count(1)))).toEqual(['unknown']);
  });

  it('confirms what as many replicas have as were asked for', async () => {
    const primary = await own({ 'repl-diskless-sync-delay': '0' });
    const { hostname, port } = new URL(primary.url);
    await own({ replicaof: `${hostname} ${port}` });
    const adapter = await bench.adapter({ url: primary.url, durability: { replicas: 1, timeoutMs: 500 } });
    const topology = topologyOf();
    await adapter.declare(topology);
    const publishing = async () => (await publish(adapter, [outgoing(topology, 'a')]))[0]!.kind === 'confirmed';
    await until('the replica follows', publishing);
    const inbox = await consume(adapter, topology);
    expect(await inbox.settle('done', ...(await inbox.count(1)))).toEqual(['settled']);
  });

  it('waits for the fsync of a server that syncs every second, where asked to', async () => {
    const server = await own({ appendfsync: 'everysec' });
    if ((await versionAt(server.url)) < 702) {
      const refused = { adapterCode: 'unsupported', message: expect.stringContaining('7.2') };
      await expect(bench.adapter({ url: server.url, durability: { waitAof: true } })).rejects.toMatchObject(refused);
      return;
    }
    const adapter = await bench.adapter({ url: server.url, durability: { waitAof: true } });
    expect(adapter.capabilities.durability).toBe('disk');
    const topology = topologyOf();
    await adapter.declare(topology);
    expect(await publish(adapter, [outgoing(topology, 'a')])).toMatchObject([{ kind: 'confirmed' }]);
    await server.kill();
    await server.restart();
    const inbox = await consume(await bench.adapter({ url: server.url, durability: 'memory' }), topology);
    await inbox.count(1);
  });

  it('Trap 22: leaves a server that has become a replica, and finds the new primary at its other address', async () => {
    const [old, next] = [await own(), await own()];
    const adapter = await bench.adapter({ url: [old.url, next.url] });
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    await inbox.count(1);
    const { hostname, port } = new URL(next.url);
    const { Redis } = await import('ioredis');
    const raw = new Redis(old.url);
    await raw.replicaof(hostname, Number(port));
    const [refused] = await publish(adapter, [outgoing(topology, 'b')]);
    expect(refused).toMatchObject({ kind: 'rejected', error: { message: expect.stringMatching(/^READONLY/) } });
    await until(
      'b is confirmed',
      async () => (await publish(adapter, [outgoing(topology, 'b')]))[0]!.kind === 'confirmed',
    );
    await inbox.count(2);
    raw.disconnect();
  });

  it('refuses to start with a wrong password, or at an address where nobody answers, and tells no secret', async () => {
    const server = await own();
    const { Redis } = await import('ioredis');
    const raw = new Redis(server.url);
    await raw.config('SET', 'requirepass', 'right');
    raw.disconnect();
    const url = server.url.replace('//', '//:s3cret@');
    const attempt = async (options: { url: string; password?: string }): Promise<Record<string, unknown>> => {
      const error: unknown = await redis(options)
        .connect(hooksOf())
        .then(
          () => 'connected',
          (reason) => reason,
        );
      const { adapterCode, message, cause } = error as { adapterCode: string; message: string; cause: Error };
      expect(`${message} ${cause.message} ${JSON.stringify(cause)}`).not.toContain('s3cret');
      return { adapterCode };
    };
    expect(await attempt({ url })).toEqual({ adapterCode: 'access-refused' });
    expect(await attempt({ url: server.url })).toEqual({ adapterCode: 'access-refused' });
    expect(await attempt({ url: 'redis://:s3cret@127.0.0.1:1' })).toEqual({ adapterCode: 'broker-unreachable' });
    const adapter = await bench.adapter({ url, password: 'right' });
    expect(await adapter.health()).toMatchObject({ connected: true });
  });
});
