import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memory, memoryBroker, virtualClock } from '../../../adapters/memory/index.ts';
import { consumerBreaker } from '../../../src/consume/breaker.ts';
import { type Work, workFor } from '../../../src/consume/work.ts';
import { type Client, type ConsumerBreakerOptions, connect, DeadLetter, defineTopic } from '../../../src/index.ts';
import { deliveryOf } from '../fake-adapter.ts';
import { turns } from '../turns.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const ordered = defineTopic<number>('keyed', {
  key: (n) => `k${n % 5}`,
  groups: { g: { order: 'key' } },
});
const never = { immediate: { retries: 100, firstMs: 10, factor: 1 }, delays: [] } as const;
const numbers = (count: number): number[] => [...Array(count).keys()];

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] }));
afterEach(() => void vi.useRealTimers());

/** A client on a broker whose clock goes with the fake timers. */
async function world() {
  const clock = virtualClock();
  const client = await connect({ adapter: memory({ broker: memoryBroker({ clock }) }) });
  const states: string[] = [];
  client.on('breaker', ({ topic: name, group, state }) => states.push(`${name} ${group} ${state}`));
  return {
    client,
    states,
    async pass(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= 10) {
        await clock.advance(Math.min(left, 10));
        await vi.advanceTimersByTimeAsync(Math.min(left, 10));
        await turns();
      }
    },
  };
}
const checkOf = async (client: Client) =>
  (await client.health()).checks.find(({ name }) => name.startsWith('consume '));

describe('G10: the consumer’s breaker', () => {
  it('opens after failures in a row, spends no attempt while open, and closes by the first success', async () => {
    const { client, states, pass } = await world();
    const calls: [number, number][] = [];
    const handled = new Map<number, number>();
    let down = true;
    await client.consume(
      topic,
      { group: 'g', concurrency: 2, retry: never, breaker: { failures: 4, resetMs: 1_000 } },
      ({ payload, attempt }) => {
        calls.push([payload, attempt]);
        if (down) throw new Error('the database is away');
        handled.set(payload, attempt);
      },
    );
    await client.publishAll(topic, numbers(20));
    await pass(100);
    expect(states).toEqual(['numbers g open']);
    expect(calls.length).toBe(4);
    expect(await checkOf(client)).toMatchObject({
      ok: false,
      detail: 'held by its breaker: 4 handler calls failed in a row',
    });
    await pass(20_000);
    // One probe a second, and nothing else.
    expect(calls.length).toBeGreaterThan(15);
    expect(calls.length).toBeLessThanOrEqual(24);
    expect(Math.max(...calls.map(([, attempt]) => attempt))).toBeLessThanOrEqual(3);
    down = false;
    await pass(3_000);
    expect(handled.size).toBe(20);
    expect(Math.max(...handled.values())).toBeLessThanOrEqual(3);
    expect(states.slice(-2)).toEqual(['numbers g half-open', 'numbers g closed']);
    expect(await checkOf(client)).toMatchObject({ ok: true });
    expect(await client.deadLetters(topic, 'g').count()).toBe(0);
    await client.close();
  });

  it('keeps the order of its keys', async () => {
    const { client, states, pass } = await world();
    const handled: number[] = [];
    let down = true;
    let attempts = 0;
    await client.consume(
      ordered,
      { group: 'g', retry: never, breaker: { failures: 4, resetMs: 1_000 } },
      ({ payload, attempt }) => {
        if (down) throw new Error('away');
        attempts = Math.max(attempts, attempt);
        handled.push(payload);
      },
    );
    await client.publishAll(ordered, numbers(50));
    await pass(10_000);
    expect(states[0]).toBe('keyed g open');
    down = false;
    await pass(3_000);
    expect(handled.length).toBe(50);
    for (const key of numbers(5)) {
      const ofKey = handled.filter((n) => n % 5 === key);
      expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b));
    }
    expect(attempts).toBeLessThanOrEqual(3);
    await client.close();
  });

  it('is not held open by messages that always fail while others can be handled', async () => {
    const { client, states, pass } = await world();
    const handled: number[] = [];
    await client.consume(
      ordered,
      {
        group: 'g',
        retry: { immediate: { retries: 4, firstMs: 1 }, delays: [] },
        breaker: { failures: 4, resetMs: 1_000 },
      },
      ({ payload }) => {
        if (payload < 2) throw new Error('bad message');
        handled.push(payload);
      },
    );
    await client.publishAll(ordered, [0, 1]);
    await pass(5_000);
    expect(states.at(-1)).not.toBe('keyed g closed');
    for (let n = 2; n < 50; n += 1) {
      await client.publish(ordered, n);
      await pass(500);
    }
    expect(states.at(-1)).toBe('keyed g closed');
    expect(await client.deadLetters(ordered, 'g').count()).toBe(2);
    expect(handled.length).toBe(48);
    await client.close();
  });

  it('is not opened by one message that fails alone, which ends in the dead letters', async () => {
    const { client, states, pass } = await world();
    await client.consume(
      topic,
      { group: 'g', retry: { immediate: { retries: 5, firstMs: 1 }, delays: [100] }, breaker: { failures: 3 } },
      () => {
        throw new Error('bad message');
      },
    );
    await client.publish(topic, 1);
    await pass(1_000);
    expect(states).toEqual([]);
    expect(await client.deadLetters(topic, 'g').count()).toBe(1);
    await client.close();
  });

  it('does not count what is dead-lettered by the handler, by classify, or not by counts', async () => {
    const { client, states, pass } = await world();
    const once = { immediate: { retries: 0 }, delays: [] };
    await client.consume(
      topic,
      {
        group: 'g',
        retry: once,
        breaker: { failures: 2, counts: (error) => !(error instanceof RangeError) },
        classify: (error) => (error instanceof TypeError ? 'dead-letter' : 'retry'),
      },
      ({ payload }) => {
        throw [new DeadLetter('no'), new TypeError('bad'), new RangeError('own')][payload % 3];
      },
    );
    await client.publishAll(topic, numbers(12));
    await pass(500);
    expect(await client.deadLetters(topic, 'g').count()).toBe(12);
    expect(states).toEqual([]);
    await client.close();
  });

  it('opens by the share of failures within a window', async () => {
    const { client, states, pass } = await world();
    let failing = 4;
    await client.consume(
      topic,
      {
        group: 'g',
        concurrency: 1,
        retry: { immediate: { retries: 0 }, delays: [] },
        breaker: { errorPercent: 50, minCalls: 8, windowMs: 1_000, resetMs: 300 },
      },
      ({ payload }) => {
        if (payload % failing === 0) throw new Error('now and then');
      },
    );
    await client.publishAll(topic, numbers(8));
    await pass(100);
    expect(states).toEqual([]);
    await pass(2_000);
    failing = 2;
    await client.publishAll(topic, numbers(9));
    await pass(50);
    expect(states).toEqual(['numbers g open']);
    await client.close();
  });

  it('opens for batches too, and puts them back unspent', async () => {
    const { client, states, pass } = await world();
    const handled = new Map<number, number>();
    let down = true;
    await client.consumeBatches(
      topic,
      { group: 'g', retry: never, batch: { size: 5 }, breaker: { failures: 3, resetMs: 1_000 } },
      (messages) => {
        if (down) throw new Error('away');
        for (const { payload, attempt } of messages) handled.set(payload, attempt);
      },
    );
    await client.publishAll(topic, numbers(20));
    await pass(20_000);
    expect(states[0]).toBe('numbers g open');
    down = false;
    await pass(3_000);
    expect(handled.size).toBe(20);
    expect(Math.max(...handled.values())).toBeLessThanOrEqual(4);
    await client.close();
  });

  it('fetches nothing while open, and resumes a consumer only if its user did not pause it', async () => {
    const { client, states, pass } = await world();
    let down = true;
    let calls = 0;
    const consumer = await client.consume(
      topic,
      { group: 'g', concurrency: 2, prefetch: 2, retry: never, breaker: { failures: 2, resetMs: 1_000 } },
      () => {
        calls += 1;
        if (down) throw new Error('away');
      },
    );
    await client.publishAll(topic, numbers(10));
    await pass(100);
    expect(states).toEqual(['numbers g open']);
    expect(await client.backlog(topic, 'g')).toMatchObject({ ready: 8, inFlight: 0, delayed: 2 });
    consumer.pause();
    down = false;
    await pass(5_000);
    expect(calls).toBe(2);
    consumer.resume();
    await pass(100);
    expect(calls).toBe(12);
    expect(states.at(-1)).toBe('numbers g closed');
    await client.close();
  });

  it('closes while open, giving everything back unspent', async () => {
    const { client, pass } = await world();
    const retry = { immediate: { retries: 0 }, delays: [60_000] };
    const attempts: number[] = [];
    await client.consume(topic, { group: 'g', concurrency: 1, retry, breaker: { failures: 2 } }, ({ attempt }) => {
      attempts.push(attempt);
      throw new Error('away');
    });
    await client.publishAll(topic, numbers(5));
    await pass(500);
    expect(attempts).toEqual([1, 1]);
    expect(await client.close()).toEqual({ completed: 0, givenBack: 3, unknown: 0 });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is moved neither by success nor by failure of a call that began before it opened', async () => {
    const states: string[] = [];
    const breaker = consumerBreaker({ failures: 2, resetMs: 1_000 }, (state) => states.push(state));
    const works = [1, 2, 3, 4, 5].map((n) => workFor(deliveryOf(n))) as [Work, Work, Work, Work, Work];
    const [succeeds, fails, probes, ...bad] = works;
    for (const work of [succeeds, fails, ...bad]) breaker.enter(work);
    for (const work of bad) breaker.failed(work, new Error('away'));
    expect(states).toEqual(['open']);
    await vi.advanceTimersByTimeAsync(1_000);
    breaker.enter(probes);
    breaker.succeeded(succeeds);
    breaker.failed(fails, new Error('away'));
    expect(states).toEqual(['open', 'half-open']);
    breaker.succeeded(probes);
    expect(states).toEqual(['open', 'half-open', 'closed']);
    breaker.close();
  });

  it('refuses options that mean nothing', async () => {
    const { client } = await world();
    const wrong = { failure: 3 } as unknown as ConsumerBreakerOptions;
    await expect(client.consume(topic, { group: 'g', breaker: wrong }, () => undefined)).rejects.toThrow(
      'consume: "breaker.failure" is not an option; did you mean "breaker.failures"?',
    );
    await client.close();
  });
});
