import { inspect } from 'node:util';
import { type Client, connect, DeadLetter, defineTopic, type Letter, type Message, RetryLater } from 'holdfast';
import { memory } from 'holdfast/memory';
import { sqliteStore } from 'holdfast/sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../conformance/until.ts';
import { CANARY } from './canary.ts';

const topic = defineTopic<number>('input.misuse', { groups: ['g'] });
const retry = { immediate: { retries: 0 }, delays: [] };
let client: Client;
beforeEach(async () => {
  client = await connect({ adapter: memory() });
});
afterEach(() => client.close());

/** What becomes of a message whose handler throws this. */
async function letterOf(thrown: unknown): Promise<Letter> {
  await client.publish(topic, 1);
  await client.consume(topic, { group: 'g', retry }, () => {
    throw thrown;
  });
  await until('the dead letter', async () => (await client.deadLetters(topic, 'g').count()) === 1);
  for await (const letter of client.deadLetters(topic, 'g').list()) return letter;
  throw new Error('no letter');
}

describe('whatever a handler throws, its message ends in the dead letters, with a text that can be shown', () => {
  class Hostile extends Error {
    override get message(): string {
      throw new Error('no message');
    }
    override get name(): string {
      throw new Error('no name');
    }
    override get stack(): string {
      throw new Error('no stack');
    }
  }
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  it.each<readonly [string, unknown]>([
    ['null', null],
    ['a text', 'text'],
    ['a symbol', Symbol('s')],
    ['an object without a prototype', Object.create(null)],
    ['an error all of whose properties throw', new Hostile()],
    ['a revoked proxy', revoked.proxy],
    ['an error whose message is no text', Object.assign(new Error(), { message: { a: 1 } })],
    ['an error that is its own cause', Object.assign(new Error('a'), { cause: new Error('b') })],
    ['a text of 1 MB of lines', '\n'.repeat(1e6)],
    ['an error with 1 MB of lines', new Error(' \n'.repeat(5e5))],
    ['an error with 1 MB of URLs', new Error('a://'.repeat(25e4))],
  ])('%s', async (_, thrown) => {
    const letter = await letterOf(thrown);
    expect(letter).toMatchObject({ reason: 'failed', attempts: 1, error: expect.any(String) });
    expect(Buffer.byteLength(letter.error!)).toBeLessThanOrEqual(4_096);
  });
  it('nothing', async () => {
    expect(await letterOf(undefined)).toMatchObject({ reason: 'failed', attempts: 1, error: undefined });
  });
  it('a text is cut to 4 KiB, on one line, and a terminal shows it as it is', async () => {
    const { error } = await letterOf(new Error(`\u001b[31mred\r\nnext\u0007\u202e${'ä'.repeat(5_000)}`));
    expect(error).toMatch(/^Error: \\x1b\[31mred\\r\\nnext\\x07\\u202eä+…$/);
    expect(Buffer.byteLength(error!)).toBeLessThanOrEqual(4_096);
    expect(Buffer.byteLength(error!)).toBeGreaterThan(4_080);
  });
  it('passwords are not kept', async () => {
    const texts = [
      `amqp://user:${CANARY}@host/v`,
      `amqp://user:pa/${CANARY}@ss@host`,
      `host=h password=${CANARY} user=u`,
      `{"password":"${CANARY}"}`,
      `kafka://a:${CANARY}@h1:9092,kafka://b:${CANARY}@h2:9092`,
    ];
    const letter = await letterOf(new DeadLetter(texts[0]!, { cause: new Error(texts[1]!) }));
    expect(inspect(letter, { depth: 9 }).includes(CANARY), 'in the letter').toBe(false);
    const other = await letterOf(new Error(texts.join(' '))).catch((error: unknown) => error);
    expect(inspect(other, { depth: 9 }).includes(CANARY), 'in the letter').toBe(false);
  });
  it('a DeadLetter without a reason, and one whose reason is 1 MB, have one', async () => {
    expect((await letterOf(new DeadLetter(undefined as never))).reason).toBe('failed');
  });
  it('a reason of 1 MB is cut', async () => {
    expect(Buffer.byteLength((await letterOf(new DeadLetter('x\n'.repeat(5e5)))).reason)).toBeLessThanOrEqual(256);
  });
  it('a RetryLater for longer than any timer keeps is an attempt like others', async () => {
    const long = new RetryLater(Date.UTC(9999, 0));
    expect(long.delayMs).toBeGreaterThan(2 ** 31);
    expect((await letterOf(long)).attempts).toBe(1);
  });
});

it('a RetryLater until the year 9999 waits, and does not come round at once', async () => {
  let calls = 0;
  await client.publish(topic, 1);
  await client.consume(topic, { group: 'g', retry: { immediate: { retries: 0 }, delays: [1] } }, () => {
    calls += 1;
    throw new RetryLater(Date.UTC(9999, 0));
  });
  await until('it waits', async () => (await client.backlog(topic, 'g')).delayed === 1);
  // Another message, all the way through: what fires at once would have fired by then.
  const other = defineTopic<number>('input.misuse-other', { groups: ['g'] });
  const { promise, resolve } = Promise.withResolvers<void>();
  await client.publish(other, 1, { delayMs: 50 });
  await client.consume(other, { group: 'g' }, () => resolve());
  await promise;
  expect(calls).toBe(1);
});

describe('what a handler does to its message, its next call does not see', () => {
  const retryOnce = { immediate: { retries: 1, firstMs: 1 }, delays: [] };
  const deep = defineTopic<{ lines: number[] }>('input.misuse-deep', { groups: ['g'] });
  const spoil = (message: Message<{ lines: number[] }>): unknown => {
    const seen = structuredClone({ lines: message.payload.lines, headers: message.headers, attempt: message.attempt });
    message.payload.lines.push(9);
    Object.assign(message, { id: 'other' });
    Object.assign(message.headers, { a: '2', b: '3' });
    return seen;
  };
  const again = { lines: [1], headers: { a: '1' }, attempt: 2 };
  beforeEach(() => client.publish(deep, { lines: [1] }, { headers: { a: '1' } }));

  it('one by one', async () => {
    const seen: unknown[] = [];
    await client.consume(deep, { group: 'g', retry: retryOnce }, (message) => {
      seen.push(spoil(message));
      if (seen.length === 1) throw new Error('again');
    });
    await until('both calls', () => seen.length === 2);
    expect(seen[1]).toEqual(again);
  });
  it('in a batch', async () => {
    const seen: unknown[] = [];
    await client.consumeBatches(deep, { group: 'g', retry: retryOnce, batch: { size: 2 } }, ([message]) => {
      seen.push(spoil(message!));
      if (seen.length === 1) throw new Error('again');
    });
    await until('both calls', () => seen.length === 2);
    expect(seen[1]).toEqual(again);
  });
});

it('a thenable that settles twice settles once', async () => {
  const told: string[] = [];
  client.on('handled', () => told.push('handled'));
  client.on('failed', () => told.push('failed'));
  await client.publish(topic, 1);
  await client.consume(topic, { group: 'g' }, () => ({
    // biome-ignore lint/suspicious/noThenProperty: it is what is tested
    then(resolve: () => void, reject: (error: unknown) => void) {
      resolve();
      reject(new Error('late'));
      resolve();
    },
  }));
  await until('the handling', () => told.length > 0);
  await client.publish(topic, 2);
  await until('the next one', () => told.length === 2);
  expect(told).toEqual(['handled', 'handled']);
  expect(await client.deadLetters(topic, 'g').count()).toBe(0);
});

it('what a handler does not await is not waited for: its message is handled when it returns', async () => {
  const gate = Promise.withResolvers<void>();
  let late = false;
  await client.publish(topic, 1);
  await client.consume(topic, { group: 'g' }, () => {
    void gate.promise.then(() => {
      late = true;
    });
  });
  await until('nothing is in flight', async () => {
    const { ready, inFlight } = await client.backlog(topic, 'g');
    return ready === 0 && inFlight === 0;
  });
  expect(late).toBe(false);
  gate.resolve();
});

it('two consumers of the same options share the group: each message is handled by one of them', async () => {
  const options = { group: 'g', concurrency: 1 };
  const seen: number[] = [];
  const handler = ({ payload }: Message<number>): void => void seen.push(payload);
  await client.consume(topic, options, handler);
  await client.consume(topic, options, handler);
  const sent = Array.from({ length: 50 }, (_, index) => index);
  await client.publishAll(topic, sent);
  await until('all messages', () => seen.length >= 50);
  expect(seen.toSorted((a, b) => a - b)).toEqual(sent);
});

it('a batch that fails a message twice, one that is not its own, or one when it is over', async () => {
  let context: { fail(message: Message<number>, error: unknown): void } | undefined;
  let calls = 0;
  await client.publishAll(topic, [1, 2, 3]);
  await client.consumeBatches(topic, { group: 'g', retry, batch: { size: 3, waitMs: 50 } }, (messages, given) => {
    calls += 1;
    context ??= given;
    const [first] = messages;
    if (first?.payload !== 1) return;
    given.fail(first, new Error('once'));
    given.fail(first, new Error('twice'));
    expect(() => given.fail({ ...first }, new Error('stranger'))).toThrow(/takes a message of this batch/);
  });
  await until('all are settled', async () => {
    const { ready, inFlight } = await client.backlog(topic, 'g');
    return calls > 0 && ready === 0 && inFlight === 0;
  });
  expect(() => context?.fail({ id: 'late' } as never, new Error('late'))).toThrow(TypeError);
  expect(await client.deadLetters(topic, 'g').count()).toBe(1);
});

describe('a transaction is its handler’s own', () => {
  it('what uses tx after the handler has returned throws, and writes nothing', async () => {
    const store = sqliteStore({ path: ':memory:' });
    try {
      await store.migrate();
      let kept: { prepare(sql: string): unknown } | undefined;
      await client.publish(topic, 1);
      await client.consume(topic, { group: 'g', inbox: store.inbox }, (_, { tx }) => {
        kept = tx as unknown as typeof kept;
      });
      await until('the handling', async () => {
        const { ready, inFlight } = await client.backlog(topic, 'g');
        return kept !== undefined && ready === 0 && inFlight === 0;
      });
      expect(() => kept!.prepare('SELECT 1')).toThrow(/can no longer be used/);
    } finally {
      await client.close();
      await store.close();
    }
  });
});

describe('after close', () => {
  beforeEach(() => client.close());
  it('publish and publishAll are refused as not-sent', async () => {
    await expect(client.publish(topic, 1)).rejects.toMatchObject({ code: 'client-closed', outcome: 'not-sent' });
    expect(await client.publishAll(topic, [1])).toMatchObject([{ ok: false, error: { code: 'client-closed' } }]);
  });
  it('consume, dead letters and backlog are refused', async () => {
    const refused = { code: 'client-closed' };
    await expect(client.consume(topic, { group: 'g' }, () => undefined)).rejects.toMatchObject(refused);
    expect(() => client.deadLetters(topic, 'g')).toThrow(expect.objectContaining(refused));
    await expect(client.backlog(topic, 'g')).rejects.toMatchObject(refused);
  });
  it('to close again does nothing, and health is not ready', async () => {
    expect(await client.close()).toEqual(await client.close());
    expect(await client.health()).toMatchObject({ live: true, ready: false });
  });
});

it('a consumer that is closed, paused or resumed twice', async () => {
  const consumer = await client.consume(topic, { group: 'g' }, () => undefined);
  consumer.pause();
  consumer.pause();
  consumer.resume();
  consumer.resume();
  expect(await consumer.close()).toEqual(await consumer.close());
  consumer.pause();
  consumer.resume();
});

it('a handler that is none', async () => {
  await expect(client.consume(topic, { group: 'g' }, undefined as never)).rejects.toBeInstanceOf(TypeError);
  await expect(client.consume(topic, { group: 'g' }, {} as never)).rejects.toBeInstanceOf(TypeError);
});
it('a topic that is none', async () => {
  await expect(client.publish('orders' as never, 1)).rejects.toBeInstanceOf(TypeError);
  await expect(client.publish({ name: 'orders' } as never, 1)).rejects.toBeInstanceOf(TypeError);
  await expect(client.consume(undefined as never, { group: 'g' }, () => undefined)).rejects.toBeInstanceOf(TypeError);
});
it('options that cannot be read', async () => {
  const odd = {
    get delayMs() {
      throw new Error('no');
    },
  };
  await expect(client.publish(topic, 1, odd as never)).rejects.toThrow('no');
  expect((await client.backlog(topic, 'g')).ready).toBe(0);
});
