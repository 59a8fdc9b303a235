import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { type ConsumeOptions, connect, defineTopic, exponential, partitionOf } from '../../../src/index.ts';
import { deliveryOf, fakeAdapter, inHand } from '../fake-adapter.ts';
import { turns } from '../turns.ts';

interface Keyed {
  readonly key: string;
  readonly n: number;
}
const topic = defineTopic<Keyed>('keyed', { key: ({ key }) => key, partitions: 2, groups: { g: { order: 'key' } } });
const keyIn = (shard: number, but = ''): string =>
  ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find((key) => key !== but && partitionOf(key, 2) === shard)!;

describe('S22: held keys', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] }));
  afterEach(() => void vi.useRealTimers());

  it('are bounded per shard: then the shard stands still, says so, and goes on in order', async () => {
    const client = await connect({ adapter: memory() });
    const events: unknown[] = [];
    client.on('held', (event) => events.push(event));
    const [failing, beside, elsewhere] = [keyIn(0), keyIn(0, keyIn(0)), keyIn(1)];
    const handled: Keyed[] = [];
    let down = true;
    await client.consume(
      topic,
      { group: 'g', heldMax: 5, timeoutMs: 1_000, retry: { immediate: { retries: 0 }, delays: [1_000, 60_000] } },
      ({ payload }) => {
        if (payload.key === failing && down) throw new Error('not now');
        handled.push(payload);
      },
    );
    const of = (key: string): number[] => handled.filter((each) => each.key === key).map(({ n }) => n);
    const check = async () => (await client.health()).checks.find(({ name }) => name === 'consume keyed as g');
    const publish = (key: string, count: number) =>
      client.publishAll(
        topic,
        Array.from({ length: count }, (_, n) => ({ key, n })),
      );
    await publish(failing, 3);
    await publish(beside, 10);
    await turns();
    // Three of five places are taken: the key beside goes on through the others.
    expect(of(beside).length).toBe(10);
    expect(events).toEqual([]);
    await publish(failing, 7);
    await publish(beside, 1);
    await publish(elsewhere, 10);
    await turns();
    expect(events).toEqual([{ topic: 'keyed', group: 'g', shard: 0, count: 5 }]);
    const still = {
      name: 'consume keyed as g',
      ok: true,
      detail: 'shard 0 stands still: 5 messages wait behind keys that are being retried',
    };
    expect(await check()).toEqual(still);
    expect([of(beside).length, of(elsewhere).length]).toEqual([10, 10]);
    await vi.advanceTimersByTimeAsync(1_000);
    await turns();
    // It has failed again: the same again, told again.
    expect(events.length).toBe(2);
    // Nothing has come for longer than a consumer may be quiet: that is no stall.
    await vi.advanceTimersByTimeAsync(40_000);
    expect(await check()).toEqual(still);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await check()).toEqual(still);
    down = false;
    await vi.advanceTimersByTimeAsync(15_000);
    await turns();
    expect(of(failing)).toEqual([0, 1, 2, 0, 1, 2, 3, 4, 5, 6]);
    expect(of(beside).length).toBe(11);
    expect(await check()).toEqual({ name: 'consume keyed as g', ok: true });
    await client.close();
  });

  it('hold their shard still, and say so, also while the message itself is lost and comes again', async () => {
    const { client, deliver, revoke } = await inHand();
    const keyed = (n: number, epoch: number) =>
      deliveryOf(n, { epoch, message: { key: 'a', body: new TextEncoder().encode(JSON.stringify({ key: 'a', n })) } });
    const calls: number[] = [];
    await client.consume(
      topic,
      { group: 'g', prefetch: 2, retry: { immediate: { retries: 0 }, delays: [60_000] } },
      ({ payload }) => {
        calls.push(payload.n);
        if (calls.length === 1) throw new Error('not now');
      },
    );
    const detail = async () => (await client.health()).checks.find(({ name }) => name.startsWith('consume'))?.detail;
    deliver(keyed(1, 1), keyed(2, 1));
    await turns();
    const still = 'shard 0 stands still: 2 messages wait behind keys that are being retried';
    expect(await detail()).toBe(still);
    revoke(1);
    expect(await detail()).toBeUndefined();
    deliver(keyed(1, 2), keyed(2, 2));
    await turns();
    expect(calls).toEqual([1]);
    expect(await detail()).toBe(still);
    await vi.advanceTimersByTimeAsync(60_000);
    await turns();
    expect(calls).toEqual([1, 1, 2]);
    expect(await detail()).toBeUndefined();
    await client.close();
  });
});

describe('S22: a policy that outlasts the broker’s patience', () => {
  const capabilities = { consumerTimeoutMs: 1_800_000 };
  const consume = async (options: Partial<ConsumeOptions>, of = topic) => {
    const client = await connect({ adapter: fakeAdapter({ capabilities }) });
    return client.consume(of, { group: 'g', ...options }, () => undefined).finally(() => client.close());
  };

  it('is refused at start-up for an ordered group, with the numbers', async () => {
    await expect(consume({ retry: { delays: [600_000, 600_000] } })).rejects.toMatchObject({
      code: 'invalid-option',
      message: expect.stringContaining('1260000 ms'),
      details: { usualMs: 1_260_000, worstMs: 1_740_000, consumerTimeoutMs: 1_800_000 },
    });
    await expect(
      consume({ retry: { delays: exponential({ firstMs: 1_000, factor: 2, maxMs: 600_000, times: 12 }) } }),
    ).rejects.toMatchObject({ code: 'invalid-option' });
  });

  it('is refused also where only calls that run out of time would make it so', async () => {
    await expect(consume({ timeoutMs: 120_000 })).rejects.toMatchObject({ code: 'invalid-option' });
  });

  it('does not concern the default policy, unordered groups, or brokers that wait for ever', async () => {
    await consume({});
    await consume(
      { retry: { delays: [3_600_000] } },
      defineTopic<Keyed>('plain', { key: ({ key }) => key, groups: ['g'] }),
    );
    const client = await connect({ adapter: memory() });
    await client.consume(topic, { group: 'g', retry: { delays: [3_600_000] } }, () => undefined);
    await client.close();
  });
});
