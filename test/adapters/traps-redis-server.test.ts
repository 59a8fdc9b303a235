import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { redis } from '../../adapters/redis/index.ts';
import { newReaper } from '../../adapters/redis/reap.ts';
import { defineTopic } from '../../src/define-topic.ts';
import type { BrokerAdapter, Delivery, Outgoing, Source } from '../../src/port.ts';
import { type Server, startServer } from '../fleet/index.ts';
import { consume, keyed, outgoing, publish, textOf, topologyOf, until } from './port-harness.ts';
import { benchOf, versionAt } from './redis-harness.ts';
import { connect } from './traps-connect.ts';

const servers: Server[] = [];
async function own(config: Record<string, string> = {}): Promise<Server> {
  const server = await startServer('redis', { own: true, config });
  servers.push(server);
  return server;
}
let server: Server;
beforeAll(async () => {
  server = await own();
}, 180_000);
afterAll(async () => {
  for (const one of servers) await one.stop();
});
const bench = benchOf(() => server.url);
afterEach(() => bench.close());

const allDone = (batch: readonly Delivery[], source: () => Source): void =>
  void source().settle(batch.map((delivery) => ({ kind: 'done', delivery })));

const numbered = (count: number, make: (n: number) => Outgoing): Outgoing[] =>
  Array.from({ length: count }, (_, n) => make(n));

async function publishConfirmed(adapter: BrokerAdapter, messages: readonly Outgoing[]): Promise<void> {
  for (let at = 0; at < messages.length; at += 500) {
    const outcomes = await publish(adapter, messages.slice(at, at + 500));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['confirmed']));
  }
}

describe('redis: what the server does with scripts, streams and memory', () => {
  it('Trap 22: a server that has forgotten every script (SCRIPT FLUSH, again and again) stops nothing and repeats nothing', async () => {
    const adapter = await bench.adapter();
    const free = topologyOf();
    const ordered = topologyOf([{ name: 'g', ordered: true }], { partitions: 2 });
    for (const topology of [free, ordered]) await adapter.declare(topology);
    const retried = new Set<string>();
    const one = await consume(await bench.adapter(), free, {
      onBatch: (batch, source) =>
        void source().settle(
          batch.map((delivery) => {
            if (Number(textOf(delivery)) % 10 === 0) return { kind: 'dead', delivery, marks: {} };
            if (retried.has(textOf(delivery))) return { kind: 'done', delivery };
            retried.add(textOf(delivery));
            return { kind: 'retry', delivery, delayMs: 1, marks: { attempts: '1' } };
          }),
        ),
    });
    const two = await consume(await bench.adapter(), ordered, { onBatch: allDone });
    const raw = bench.raw();
    await raw.config('RESETSTAT');
    for (let n = 0; n < 100; n++) {
      const batch = [outgoing(free, String(n)), keyed(ordered, String(n), 'k', n % 2)];
      const [outcomes] = await Promise.all([publish(adapter, batch), raw.script('FLUSH')]);
      expect(outcomes.map(({ kind }) => kind)).toEqual(['confirmed', 'confirmed']);
    }
    await until('all are handled', () => one.deliveries.length === 190 && two.deliveries.length === 100);
    for (const topology of [free, ordered])
      await until('all are settled', async () => {
        const { ready, inFlight, delayed } = await adapter.backlog(topology, 'g');
        return ready === 0 && inFlight === 0 && delayed === 0;
      });
    const letters = adapter.deadLetters(free, 'g');
    for await (const page of letters.scan({ pageSize: 3, signal: undefined })) {
      await raw.script('FLUSH');
      expect(new Set(await letters.discard(page))).toEqual(new Set(['settled']));
    }
    expect(await letters.count()).toBe(0);
    expect(await raw.info('errorstats')).toMatch(/errorstat_NOSCRIPT:count=[1-9]/);
  });

  it('Trap 23: nothing is trimmed: however much one group settles, another finds everything that it has not', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf([
      { name: 'fast', ordered: false },
      { name: 'slow', ordered: false },
      { name: 'shards', ordered: true },
    ]);
    await adapter.declare(topology);
    const raw = bench.raw();
    await raw.config('RESETSTAT');
    const fast = await consume(adapter, topology, { group: 'fast', prefetch: 500, onBatch: allDone });
    const slow = await consume(adapter, topology, { group: 'slow', prefetch: 7 });
    const shards = await consume(adapter, topology, { group: 'shards', prefetch: 7 });
    await publishConfirmed(
      adapter,
      numbered(12_000, (n) => keyed(topology, String(n), 'k', 0)),
    );
    await fast.count(12_000);
    await slow.count(7);
    await shards.count(7);
    for (const group of ['slow', 'shards'])
      expect(await adapter.backlog(topology, group)).toMatchObject({ ready: 11_993, inFlight: 7 });
    // What is settled in the middle goes alone; what is unsettled before and after it stays.
    for (const inbox of [slow, shards]) {
      await inbox.settle('done', inbox.deliveries[3]!);
      await inbox.source.stop();
    }
    const wanted = Array.from({ length: 12_000 }, (_, n) => String(n)).filter((text) => text !== '3');
    for (const group of ['slow', 'shards']) {
      const rest = await consume(adapter, topology, { group, prefetch: 500, onBatch: allDone });
      await rest.count(11_999);
      expect(rest.texts().toSorted((a, b) => Number(a) - Number(b))).toEqual(wanted);
    }
    expect(await raw.info('commandstats')).not.toMatch(/cmdstat_xtrim/);
  });

  it('Trap 25: a dead consumer is removed when it holds nothing, never before, and one that lives comes back', async () => {
    const proxy = await bench.proxy();
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publishConfirmed(
      adapter,
      numbered(3, (n) => outgoing(topology, String(n))),
    );
    const dying = await consume(await bench.adapter({ url: proxy.url }), topology, { prefetch: 2, leaseMs: 500 });
    await dying.count(2);
    proxy.shut();

    const raw = bench.raw();
    const key = `hf:{${topology.topic}}:g`;
    const names = async (): Promise<[name: string, pending: number][]> => {
      const rows = (await raw.xinfo('CONSUMERS', `${key}:normal`, 'g')) as unknown[][];
      return rows.map((row) => [row[row.indexOf('name') + 1] as string, row[row.indexOf('pending') + 1] as number]);
    };
    /** Takes everybody for gone. */
    const reap = () => newReaper(key, ['normal', 'wake'], 500, -1).look(raw);
    const [[dead]] = (await names()) as [[string, number]];
    await reap();
    expect(await names()).toEqual([[dead, 2]]);

    const heir = await consume(adapter, topology, { leaseMs: 500 });
    await heir.count(3);
    expect(heir.texts().sort()).toEqual(['0', '1', '2']);
    await heir.settle('done', ...heir.deliveries);
    await reap();
    expect((await names()).map(([name]) => name)).not.toContain(dead);
    await publishConfirmed(adapter, [outgoing(topology, 'later')]);
    await heir.count(4);
    expect(await heir.settle('done', heir.deliveries[3]!)).toEqual(['settled']);
    await heir.source.stop();
    expect(await names()).toEqual([]);
  });

  it('Trap 26: a full server makes publishers wait, and everything is confirmed and handled once there is room', async () => {
    const full = await own({ maxmemory: '6mb' });
    const topic = defineTopic<string>('orders', { groups: { g: {} } });
    await using client = await connect({ adapter: redis({ url: full.url }) });
    let confirmed = 0;
    const publishing = Array.from({ length: 600 }, async (_, n) => {
      await client.publish(topic, 'x'.repeat(15_000), { id: String(n), timeoutMs: 60_000 });
      confirmed += 1;
    });
    const raw = new Redis(full.url);
    await until('the server is full', async () => /errorstat_OOM:count=[1-9]/.test(await raw.info('errorstats')));
    raw.disconnect();
    expect(confirmed).toBeLessThan(600);
    const handled = new Map<string, number>();
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.set(id, (handled.get(id) ?? 0) + 1));
    await Promise.all(publishing);
    await until('all are handled', () => handled.size === 600);
    expect(new Set(handled.values())).toEqual(new Set([1]));
  });

  it('Trap 27: confirms nothing that fewer servers have synced than were asked for', async () => {
    if ((await versionAt(server.url)) < 702) {
      await expect(bench.adapter({ durability: { waitAof: true } })).rejects.toMatchObject({
        adapterCode: 'unsupported',
        message: expect.stringContaining('7.2'),
      });
      return;
    }
    const topology = topologyOf();
    const attempt = async (url: string, durability: { waitAof: true; replicas?: number; timeoutMs: number }) => {
      const adapter = await bench.adapter({ url, durability });
      await adapter.declare(topology);
      const [outcome] = await publish(adapter, [outgoing(topology, 'a')]);
      const inbox = await consume(adapter, topology);
      return [outcome, await inbox.settle('done', ...(await inbox.count(1)))];
    };
    const unknown = (message: string) => [{ kind: 'unknown', error: { message } }, ['unknown']];
    expect(await attempt(server.url, { waitAof: true, replicas: 1, timeoutMs: 100 })).toMatchObject(
      unknown('synced by 1 of 1 server and 0 of 1 replicas within 100 ms'),
    );
    const unsynced = await own({ appendfsync: 'no' });
    expect(await attempt(unsynced.url, { waitAof: true, timeoutMs: 100 })).toMatchObject(
      unknown('synced by 0 of 1 server and 0 of 0 replicas within 100 ms'),
    );
  });
});

describe('redis: how long a resend is known', () => {
  it('Trap 29: every identity of the window is known, however many: none is pushed out by others', async () => {
    const adapter = await bench.adapter();
    const topology = topologyOf();
    await adapter.declare(topology);
    const messages = numbered(25_000, (n) => outgoing(topology, String(n)));
    await publishConfirmed(adapter, messages);
    await publishConfirmed(adapter, messages);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 25_000 });
  });

  it('Trap 29: a server that may forget what was published is unhealthy, and says so', async () => {
    const forgetful = await own({ 'maxmemory-policy': 'volatile-ttl' });
    const adapter = await bench.adapter({ url: forgetful.url });
    const policy = async () => (await adapter.health()).checks.find(({ name }) => name === 'eviction-policy');
    expect(await policy()).toMatchObject({ ok: false, detail: expect.stringContaining('what it knows of resends') });
    const raw = new Redis(forgetful.url);
    await raw.config('SET', 'maxmemory-policy', 'noeviction');
    raw.disconnect();
    expect(await policy()).toMatchObject({ ok: true });
  });
});
