import { createHash, randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, describe, expect, it } from 'vitest';
import { redisDedupe } from '../../adapters/redis/index.ts';
import { type DedupeLimits, type DedupeUnderTest, dedupeStoreSuite } from '../conformance/index.ts';
import { urlOf } from './conformance-fixture.ts';
import { benchOf } from './redis-harness.ts';

const client = new Redis(urlOf('redis'), { protocol: 2 });
afterAll(() => client.disconnect());
const unique = (): string => `dedupe_${randomBytes(6).toString('hex')}`;

describe('redis dedupe', () => {
  dedupeStoreSuite({ it: it.concurrent, open: inRedis });

  async function inRedis(limits: DedupeLimits): Promise<DedupeUnderTest> {
    const prefix = unique();
    const store = redisDedupe({ url: urlOf('redis'), prefix, ...limits });
    const other = redisDedupe({ client, prefix, ...limits });
    return {
      store,
      other,
      stored: async () => (await client.keys(`${prefix}:*`)).length,
      async close() {
        await store.close();
        await other.close();
        const keys = await client.keys(`${prefix}:*`);
        if (keys.length > 0) await client.del(...keys);
      },
    };
  }

  it('every key expires by itself, so that memory is bounded', async () => {
    const prefix = unique();
    const store = redisDedupe({ client, prefix });
    const claim = await store.claim('billing\norders\nid:shop/1');
    await store.claim('billing\norders\nid:shop/2');
    if (claim.state === 'new') await store.commit('billing\norders\nid:shop/1', claim.token);
    const keys = (await client.keys(`${prefix}:*`)).sort();
    expect(keys).toEqual([1, 2].map((n) => `${prefix}:dedupe:billing\norders\nid:shop/${n}`));
    const [handledMs, claimedMs] = await Promise.all(keys.map((key) => client.pttl(key)));
    expect(handledMs).toBeGreaterThan(500_000);
    expect(handledMs).toBeLessThanOrEqual(600_000);
    expect(claimedMs).toBeGreaterThan(30_000);
    expect(claimedMs).toBeLessThanOrEqual(60_000);
    await client.del(...keys);
  });

  it('claims and commits on a new connection when the first reply was lost', async () => {
    const bench = benchOf(() => urlOf('redis'));
    const proxy = await bench.proxy();
    const prefix = unique();
    const store = redisDedupe({ url: proxy.url, prefix });
    const other = redisDedupe({ client, prefix });
    await store.claim('another');
    proxy.cutNextReply();
    const claim = await store.claim('m');
    if (claim.state !== 'new') throw new Error('its own claim kept it out');
    proxy.cutNextReply();
    await store.commit('m', claim.token);
    expect(await other.claim('m')).toEqual({ state: 'done' });
    expect(await store.claim('m')).toEqual({ state: 'done' });
    await store.close();
    await bench.close();
    await client.del(`${prefix}:dedupe:m`, `${prefix}:dedupe:another`);
  });

  it('opens nothing before its first call, and after close refuses without opening anything', async () => {
    const store = redisDedupe({ url: 'redis://127.0.0.1:1' });
    await store.close();
    await store.close();
    await expect(store.claim('m')).rejects.toThrow('not connected');
    const away = redisDedupe({ url: 'redis://:s3cret@127.0.0.1:1' });
    await expect(away.claim('m')).rejects.toThrow(/cannot be reached/);
    await expect(away.claim('m')).rejects.not.toThrow(/s3cret/);
    await away.close();
  });

  it('never takes a key for another one that it knows by its hash', async () => {
    const store = redisDedupe({ client, prefix: unique() });
    const long = 'x'.repeat(1_000);
    const alike = `sha256:${createHash('sha256').update(JSON.stringify(long)).digest('hex')}`;
    for (const key of [long, alike]) expect(await store.claim(key)).toMatchObject({ state: 'new' });
  });

  it('names the wrong key, what it received and what it wanted', () => {
    const make = (options: unknown) => () => redisDedupe(options as { url: string });
    expect(make({})).toThrow('redisDedupe needs either `url` or `client`');
    expect(make({ url: 'redis://h', client })).toThrow(/either `url` or `client`/);
    expect(make({ client: {} })).toThrow(/`client`/);
    expect(make({ url: 'redis://h', window: 3 })).toThrow(/unknown key `window`; did you mean `windowMs`/);
    expect(make({ url: 'redis://h', windowMs: '5' })).toThrow(/`windowMs` must be a whole number .*received "5"/);
    expect(make({ url: 'redis://h', claimMs: 0 })).toThrow(/`claimMs`/);
    expect(make({ url: 'redis://h', prefix: 'a{b' })).toThrow(/`prefix`/);
    expect(make({ url: 'amqp://:s3cret@h' })).toThrow(/^(?!.*s3cret).*`url`/);
  });
});
