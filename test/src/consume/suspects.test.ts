import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type MemoryAdapter, memory, memoryBroker } from '../../../adapters/memory/index.ts';
import { type Client, type ConsumeOptions, connect, defineTopic } from '../../../src/index.ts';
import type { BrokerAdapter, Delivery } from '../../../src/port.ts';
import { deliveryOf, gate, inHand } from '../fake-adapter.ts';
import { turns } from '../turns.ts';

const never = new Promise<never>(() => undefined);
const retry = { immediate: { retries: 2, firstMs: 1 }, delays: [] };

/** As brokers are that cannot change what they hold. */
function withoutMarks(whole: MemoryAdapter, change: (delivery: Delivery) => Delivery = (same) => same): BrokerAdapter {
  return {
    ...whole,
    async subscribe(subscription, receive) {
      const { mark: _, ...source } = await whole.subscribe(subscription, {
        deliver: (batch) => receive.deliver(batch.map(change)),
        revoked: (epoch) => receive.revoked(epoch),
      });
      return source;
    },
  };
}

/** Processes that come one after the other, each killed by the message `poison`. */
function world(
  ordered: boolean,
  make: (whole: MemoryAdapter) => BrokerAdapter = (whole) => whole,
  key: (job: string) => string = () => 'k',
) {
  const broker = memoryBroker();
  const topic = defineTopic<string>('jobs', { key, groups: { g: { order: ordered ? 'key' : 'none' } } });
  const calls: string[] = [];
  const handled: string[] = [];

  async function open(): Promise<{ client: Client; whole: MemoryAdapter }> {
    const whole = memory({ broker });
    return { client: await connect({ adapter: make(whole) }), whole };
  }

  /** Resolves when the poison has killed it, or it has been dead-lettered: then with its reason. */
  async function life(options: Partial<ConsumeOptions> = {}): Promise<string | undefined> {
    const { client, whole } = await open();
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    let dead = false;
    let begun = 0;
    client.on('dead-lettered', ({ reason, attempts }) => resolve(`${reason} after ${attempts}`));
    await client.consume(topic, { group: 'g', concurrency: 4, retry, ...options }, async ({ payload, attempt }) => {
      if (dead) return never;
      calls.push(`${payload} ${attempt}`);
      begun += 1;
      if (payload === 'throws' || (payload === 'late poison' && begun === 1)) throw new Error('no');
      if (payload.endsWith('poison')) {
        dead = true;
        whole.crash();
        resolve(undefined);
        return never;
      }
      handled.push(payload);
    });
    const end = await promise;
    if (end !== undefined) await expect.poll(() => client.backlog(topic, 'g')).toMatchObject({ ready: 0, inFlight: 0 });
    await client.close({ drainMs: 0 });
    return end;
  }

  return { broker, topic, calls, handled, open, life };
}

describe.each([
  ['unordered, marked in place', false, undefined],
  ['ordered, marked in place', true, undefined],
  ['unordered, by copies', false, withoutMarks],
] as const)('S18: %s', (_, ordered, make) => {
  it('a message that kills its process is dead after maxAttempts + 1 calls, and the others are handled', async () => {
    const { topic, calls, handled, open, life } = world(ordered, make && ((whole) => make(whole)));
    const { client } = await open();
    for (const job of ['a', 'b', 'poison', 'c', 'd']) await client.publish(topic, job);
    const ends: (string | undefined)[] = [];
    while (ends.at(-1) === undefined && ends.length < 20) ends.push(await life());
    expect(ends).toEqual([undefined, undefined, undefined, undefined, 'crashed after 3']);
    expect(calls.filter((call) => call.startsWith('poison'))).toEqual(['poison 1', 'poison 1', 'poison 2', 'poison 3']);
    expect(new Set(handled)).toEqual(new Set(['a', 'b', 'c', 'd']));
    if (ordered) expect(handled.filter((job, index) => handled.indexOf(job) === index)).toEqual(['a', 'b', 'c', 'd']);
    await client.close();
  });

  it('G8: one that throws first, and kills its process when it is tried again at once, is called no more often', async () => {
    const { topic, calls, open, life } = world(ordered, make && ((whole) => make(whole)));
    const { client } = await open();
    await client.publish(topic, 'late poison');
    const ends: (string | undefined)[] = [];
    while (ends.at(-1) === undefined && ends.length < 20) ends.push(await life());
    // The first two are those of a message that nobody suspects yet.
    expect(calls.map((call) => call.slice(-1))).toEqual(['1', '2', '1', '2', '3']);
    expect(ends).toEqual([undefined, undefined, 'failed after 3']);
    await client.close();
  });

  it('a suspect that only throws is dead after its attempts, and each is counted once', async () => {
    const { topic, calls, open, life } = world(ordered, make && ((whole) => make(whole)));
    const { client, whole } = await open();
    const began = Promise.withResolvers<void>();
    await client.consume(topic, { group: 'g', retry }, () => {
      began.resolve();
      return never;
    });
    await client.publish(topic, 'throws');
    await began.promise;
    whole.crash();
    expect(await life()).toBe('failed after 3');
    expect(calls).toEqual(['throws 1', 'throws 2', 'throws 3']);
    await client.close({ drainMs: 0 });
  });

  it('suspects are handled one at a time, beside all others', async () => {
    const { topic, open } = world(ordered, make && ((whole) => make(whole)), (job) => job);
    const first = await open();
    const jobs = Array.from({ length: 6 }, (_, n) => `job ${n}`);
    const began = Promise.withResolvers<void>();
    let begun = 0;
    await first.client.consume(topic, { group: 'g', concurrency: 6 }, () => {
      begun += 1;
      if (begun === 6) began.resolve();
      return never;
    });
    for (const job of jobs) await first.client.publish(topic, job);
    await began.promise;
    first.whole.crash();

    const { client } = await open();
    let running = 0;
    let most = 0;
    const handled: string[] = [];
    await client.consume(topic, { group: 'g', concurrency: 6 }, async ({ payload, attempt }) => {
      expect(attempt).toBe(1);
      if (!payload.startsWith('job')) return void handled.push(payload);
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
      handled.push(payload);
    });
    await client.publish(topic, 'another');
    await expect.poll(() => handled.length, { timeout: 20_000 }).toBe(7);
    expect(most).toBe(1);
    expect(handled.toSorted()).toEqual(['another', ...jobs].toSorted());
    await client.close();
    await first.client.close({ drainMs: 0 });
  });
});

it('S18: an ordered suspect that its broker cannot mark is dead when it was delivered too often', async () => {
  let deliveries = 103;
  const { topic, calls, open, life } = world(true, (whole) =>
    withoutMarks(whole, (delivery) => ({ ...delivery, suspect: true, deliveries })),
  );
  const { client } = await open();
  await client.publish(topic, 'poison');
  expect(await life()).toBeUndefined();
  deliveries = 104;
  expect(await life()).toBe('crashed after 0');
  expect(calls).toEqual(['poison 1']);
  await client.close();
});

it('S18: a suspect is settled before the next one begins, which might kill its process with the answer on its way', async () => {
  const answer = gate();
  const { client, deliver } = await inHand(
    {},
    {
      mark: async () => 'settled',
      async settle(batch) {
        await answer.opened;
        return batch.map(() => 'settled');
      },
    },
  );
  const calls: number[] = [];
  await client.consume(defineTopic<number>('numbers', { groups: ['g'] }), { group: 'g' }, ({ payload }) => {
    calls.push(payload);
  });
  deliver(deliveryOf(1, { suspect: true }), deliveryOf(2, { suspect: true }), deliveryOf(3));
  await turns();
  expect(calls.toSorted()).toEqual([1, 3]);
  answer.open();
  await turns();
  expect(calls.at(-1)).toBe(2);
  await client.close();
});

describe('S18: copies that count a call', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
  afterEach(() => void vi.useRealTimers());
  const numbers = defineTopic<number>('numbers', { groups: ['g'] });
  const copy = { message: { marks: { attempts: '1', suspect: '1', begun: '1' } } };

  async function pass(ms: number): Promise<void> {
    await turns();
    await vi.advanceTimersByTimeAsync(ms);
    await turns();
  }

  it('go out one at a time, and each is called when its original is surely settled', async () => {
    const { client, settled, deliver } = await inHand();
    const calls: number[] = [];
    await client.consume(numbers, { group: 'g' }, ({ payload }) => void calls.push(payload));
    const sent = () => settled.map(({ kind, delivery }) => `${kind} ${delivery.handle}`);
    deliver(deliveryOf(1, { suspect: true }), deliveryOf(2, { suspect: true }));
    await pass(500);
    expect(sent()).toEqual(['retry 1']);
    deliver(deliveryOf(1, copy));
    await turns();
    deliver(deliveryOf(3, { suspect: true }));
    await turns();
    expect(calls).toEqual([1]);
    expect(sent()).toEqual(['retry 1', 'done 1', 'retry 2']);
    // Its copy has only just been sent.
    deliver(deliveryOf(2, copy));
    await pass(99);
    expect(calls).toEqual([1]);
    await pass(1);
    expect(calls).toEqual([1, 2]);
    // One that does not come round is waited for a second.
    expect(sent().slice(3)).toEqual(['done 2', 'retry 3']);
    deliver(deliveryOf(4, { suspect: true }));
    await pass(999);
    expect(sent()).toHaveLength(5);
    await pass(1);
    expect(sent().slice(5)).toEqual(['retry 4']);
    await client.close();
  });

  it('go back uncounted where they would wait behind another', async () => {
    const { client, settled, deliver } = await inHand();
    const finish = gate();
    const calls: number[] = [];
    await client.consume(numbers, { group: 'g' }, ({ payload }) => {
      calls.push(payload);
      return finish.opened;
    });
    deliver(deliveryOf(1, copy));
    await pass(100);
    deliver(deliveryOf(2, copy));
    await turns();
    expect(calls).toEqual([1]);
    expect(settled).toMatchObject([
      { kind: 'retry', delivery: { handle: 2 }, delayMs: 1_000, marks: { attempts: '0', suspect: '1' } },
    ]);
    expect((settled[0] as { marks: object }).marks).not.toHaveProperty('begun');
    finish.open();
    await client.close();
  });
});

it('S18: a batch handler gets a suspect by itself', async () => {
  const { topic, open } = world(false);
  const first = await open();
  const began = Promise.withResolvers<void>();
  await first.client.consumeBatches(topic, { group: 'g', batch: { size: 3, waitMs: 50 } }, () => {
    began.resolve();
    return never;
  });
  await first.client.publishAll(topic, ['a', 'b', 'c']);
  await began.promise;
  first.whole.crash();
  const { client } = await open();
  const batches: string[][] = [];
  await client.consumeBatches(topic, { group: 'g', batch: { size: 3, waitMs: 50 } }, (messages) => {
    batches.push(messages.map(({ payload }) => payload));
  });
  await expect.poll(() => batches).toHaveLength(3);
  expect(batches.flat().toSorted()).toEqual(['a', 'b', 'c']);
  await client.close();
  await first.client.close({ drainMs: 0 });
});

it('S17: a call that was counted ahead and did not take place is counted back on closing', async () => {
  const { topic, open } = world(false);
  const first = await open();
  const began = Promise.withResolvers<void>();
  await first.client.consume(topic, { group: 'g' }, () => {
    began.resolve();
    return never;
  });
  await first.client.publish(topic, 'x');
  await began.promise;
  first.whole.crash();

  // Aborted amid its call: given back unspent.
  const second = await open();
  const again = Promise.withResolvers<void>();
  await second.client.consume(topic, { group: 'g' }, () => {
    again.resolve();
    return never;
  });
  await again.promise;
  await second.client.close({ drainMs: 0 });

  const third = await open();
  const attempt = Promise.withResolvers<number>();
  await third.client.consume(topic, { group: 'g' }, (message) => attempt.resolve(message.attempt));
  expect(await attempt.promise).toBe(1);
  await third.client.close();
  await first.client.close({ drainMs: 0 });
});
