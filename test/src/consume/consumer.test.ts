import { afterEach, describe, expect, it, vi } from 'vitest';
import { memory, memoryBroker, virtualClock } from '../../../adapters/memory/index.ts';
import { connect, defineTopic, RetryLater } from '../../../src/index.ts';
import { pace } from '../../conformance/pace.ts';
import { deliveryOf, gate, inHand } from '../fake-adapter.ts';
import { turns } from '../turns.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const once = { immediate: { retries: 0 }, delays: [] };

afterEach(() => void vi.useRealTimers());

describe('consumer', () => {
  it('waits ten minutes for a retry in no time, on the broker’s virtual clock', async () => {
    const clock = virtualClock();
    const client = await connect({ adapter: memory({ broker: memoryBroker({ clock }) }) });
    const attempts: [number, number][] = [];
    const start = clock.now();
    await client.consume(
      topic,
      { group: 'g', retry: { immediate: { retries: 0 }, delays: [5_000, 60_000, 600_000] } },
      ({ attempt }) => {
        attempts.push([attempt, clock.now() - start]);
        if (attempt === 2) throw new RetryLater(1_000);
        throw new Error('always');
      },
    );
    await client.publish(topic, 1);
    await clock.advance(4_999);
    expect(attempts).toEqual([[1, 0]]);
    await clock.advance(700_000);
    expect(attempts).toEqual([
      [1, 0],
      [2, 5_000],
      [3, 6_000],
      [4, 606_000],
    ]);
    expect(await client.deadLetters(topic, 'g').count()).toBe(1);
    await client.close();
  });

  it('settles nothing of a lost epoch, and everything of the others', async () => {
    const { client, settled, deliver, revoke } = await inHand({ leases: true });
    const finish = gate<void>();
    await client.consume(topic, { group: 'g', retry: once }, () => finish.opened);
    deliver(deliveryOf(1), deliveryOf(2, { epoch: 2 }), deliveryOf(3));
    await turns();
    revoke(1);
    finish.open();
    await turns();
    expect(settled.map(({ kind, delivery }) => [kind, delivery.handle])).toEqual([['done', 2]]);
    await client.close();
  });

  it('renews the leases of what it holds, and only of that', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { client, extended, deliver } = await inHand({ leases: true });
    const finish = gate<void>();
    await client.consume(topic, { group: 'g', concurrency: 1, leaseMs: 300 }, ({ payload }) =>
      payload === 1 ? undefined : finish.opened,
    );
    deliver(deliveryOf(1), deliveryOf(2), deliveryOf(3));
    await turns();
    vi.advanceTimersByTime(200);
    const handles = () => extended.map((deliveries) => deliveries.map(({ handle }) => handle));
    await turns();
    expect(handles()).toEqual([
      [2, 3],
      [2, 3],
    ]);
    finish.open();
    await turns();
    vi.advanceTimersByTime(1_000);
    await client.close();
    vi.advanceTimersByTime(1_000);
    expect(extended).toHaveLength(2);
  });

  it('G9: pauses, drains, settles, and only then stops the source', async () => {
    const { client, settled, calls, deliver } = await inHand({ leases: true });
    const finish = gate<void>();
    const consumer = await client.consume(topic, { group: 'g', concurrency: 1 }, () => finish.opened);
    deliver(deliveryOf(1), deliveryOf(2));
    await turns();
    const closing = consumer.close();
    await turns();
    expect(calls).toEqual(['pause']);
    deliver(deliveryOf(3));
    finish.open();
    expect(await closing).toMatchObject({ completed: 1, unknown: 0 });
    expect(calls).toEqual(['pause', 'stop']);
    expect(settled.map(({ delivery }) => delivery.handle)).toEqual([1]);
    await client.close();
  });

  it('goes on after handlers that throw whatever can be thrown', async () => {
    const client = await connect({ adapter: memory() });
    const thrown: unknown[] = [
      undefined,
      null,
      0,
      'text',
      Symbol('s'),
      Object.create(null),
      new TypeError('bug'),
      Promise.resolve(),
    ];
    const handled: number[] = [];
    await client.consume(topic, { group: 'g', retry: once, concurrency: 2 }, ({ payload }) => {
      if (payload < thrown.length) throw thrown[payload];
      handled.push(payload);
    });
    await client.publishAll(
      topic,
      Array.from({ length: thrown.length + 3 }, (_, n) => n),
    );
    const letters = client.deadLetters(topic, 'g');
    while ((await letters.count()) < thrown.length) await turns();
    expect(handled).toEqual([thrown.length, thrown.length + 1, thrown.length + 2]);
    for await (const letter of letters.list()) expect(letter).toMatchObject({ reason: 'failed', attempts: 1 });
    await client.close();
  });

  it('starts no more handlers per second than it may', async () => {
    const client = await connect({ adapter: memory() });
    const calls = pace();
    await client.consume(topic, { group: 'g', ratePerSecond: 100, concurrency: 10 }, calls.begins);
    await client.publishAll(
      topic,
      Array.from({ length: 21 }, (_, n) => n),
    );
    while (calls.starts.length < 21) await turns();
    calls.assertAtMost(100);
    calls.end();
    await client.close();
  });
});
