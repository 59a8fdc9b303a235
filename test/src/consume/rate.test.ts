import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { type Client, type ConsumeOptions, connect, defineTopic } from '../../../src/index.ts';
import type { BrokerAdapter } from '../../../src/port.ts';
import { type Pace, pace } from '../../conformance/pace.ts';

const topic = defineTopic<number>('jobs', { groups: { g: {}, other: {} } });
const PER_SECOND = 50;
const options = {
  group: 'g',
  ratePerSecond: PER_SECOND,
  retry: { immediate: { retries: 3, firstMs: 1 }, delays: [1] },
};

let calls: Pace;
beforeEach(() => {
  calls = pace();
});
afterEach(() => calls.end());

/** Publishes `count`, and says whose calls began, once all are handled. */
async function starts(
  count: number,
  consumers: readonly Partial<ConsumeOptions>[],
  work: (payload: number, attempt: number) => void = () => undefined,
): Promise<readonly number[]> {
  const client: Client = await connect({ adapter: memory() });
  const started: number[] = [];
  const handled = new Set<number>();
  for (const [by, more] of consumers.entries()) {
    await client.consume(topic, { ...options, ...more }, ({ payload, attempt }) => {
      calls.begins();
      started.push(by);
      work(payload, attempt);
      handled.add(payload);
    });
  }
  await client.publishAll(
    topic,
    Array.from({ length: count }, (_, n) => n),
  );
  await expect.poll(() => handled.size, { timeout: 20_000 }).toBe(count);
  await client.close({ drainMs: 0 });
  return started;
}

describe('ratePerSecond', () => {
  it('is the group’s: its consumers in a client share it, and each gets its turns', async () => {
    const started = await starts(24, [
      { prefetch: 12, concurrency: 4 },
      { prefetch: 12, concurrency: 4 },
    ]);
    calls.assertAtMost(PER_SECOND);
    for (const by of [0, 1]) expect(started.filter((each) => each === by).length).toBeGreaterThanOrEqual(6);
  });

  it('the lowest that any of them gives holds, also for one that gives none', async () => {
    const { ratePerSecond: _, ...unlimited } = { ...options, concurrency: 4 };
    const client = await connect({ adapter: memory() });
    await client.consume(topic, unlimited, calls.begins);
    const limited = await client.consume(topic, { ...options, ratePerSecond: 25 }, calls.begins);
    await client.publishAll(topic, [1, 2, 3, 4, 5, 6, 7, 8]);
    await expect.poll(() => calls.starts.length, { timeout: 20_000 }).toBe(8);
    calls.assertAtMost(25);
    // Gone with who asked for it.
    await limited.close();
    await client.publishAll(topic, new Array<number>(500).fill(0));
    await expect.poll(() => calls.starts.length, { timeout: 8_000 }).toBe(508);
    await client.close();
  });

  it('immediate retries are starts like any other', async () => {
    const started = await starts(5, [{ concurrency: 5 }], (_, attempt) => {
      if (attempt < 4) throw new Error('not yet');
    });
    expect(started).toHaveLength(20);
    calls.assertAtMost(PER_SECOND);
  });

  it('G10: the probes of a half-open breaker are, too', async () => {
    let failures = 0;
    const breaker = { failures: 2, resetMs: 1 };
    await starts(5, [{ concurrency: 5, breaker, retry: { immediate: { retries: 0 }, delays: [1] } }], () => {
      failures += 1;
      if (failures < 10) throw new Error('down');
    });
    calls.assertAtMost(PER_SECOND);
  });

  it('goes with a consumer whose subscription was refused', async () => {
    const whole = memory();
    let refused = false;
    const adapter: BrokerAdapter = {
      ...whole,
      subscribe(subscription, receive) {
        if (refused) return whole.subscribe(subscription, receive);
        refused = true;
        return Promise.reject(new Error('not now'));
      },
    };
    const client = await connect({ adapter });
    await expect(client.consume(topic, { ...options, ratePerSecond: 0.001 }, calls.begins)).rejects.toThrow('not now');
    await client.consume(topic, { group: 'g' }, calls.begins);
    await client.publishAll(topic, [1, 2, 3]);
    await expect.poll(() => calls.starts.length).toBe(3);
    await client.close();
  });

  it('one group’s rate is not another’s', async () => {
    const client = await connect({ adapter: memory() });
    let others = 0;
    let mine = 0;
    await client.consume(topic, { ...options, ratePerSecond: 0.01 }, () => void mine++);
    await client.consume(topic, { group: 'other' }, () => void others++);
    await client.publishAll(topic, new Array<number>(100).fill(0));
    await expect.poll(() => others).toBe(100);
    expect(mine).toBe(1);
    await client.close();
  });
});
