import { connect, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';
import { sqliteStore } from 'holdfast/sqlite';
import { describe, expect, it } from 'vitest';
import { refusing } from './refused.ts';

const { client } = refusing('input.sizes');
const MIB = 1024 * 1024;
const tooLarge = (bytes: number, maxBytes: number) => ({
  code: 'message-too-large',
  outcome: 'not-sent',
  details: { topic: expect.any(String), bytes, maxBytes },
});

describe('the limit is on the bytes that are sent', () => {
  const small = defineTopic<unknown>('input.small', { groups: ['g'], maxBytes: 10 });
  it('exactly the limit is accepted, one byte more is not', async () => {
    await client().publish(small, 'x'.repeat(8));
    await expect(client().publish(small, 'x'.repeat(9))).rejects.toMatchObject(tooLarge(11, 10));
  });
  it('in UTF-8, not in characters', async () => {
    await client().publish(small, 'ä'.repeat(4));
    await expect(client().publish(small, 'ä'.repeat(5))).rejects.toMatchObject(tooLarge(12, 10));
  });
  it('of bytes as they are', async () => {
    await client().publish(small, new Uint8Array(10));
    await expect(client().publish(small, new Uint8Array(11))).rejects.toMatchObject(tooLarge(11, 10));
  });
  it('after a codec that makes the payload longer', async () => {
    const codec = {
      contentType: 'text/base64',
      encode: (value: unknown) => Buffer.from(Buffer.from(value as string).toString('base64')),
      decode: (bytes: Uint8Array) => Buffer.from(Buffer.from(bytes).toString(), 'base64').toString(),
    };
    const grown = defineTopic<string>('input.grown', { groups: ['g'], maxBytes: 12, codec });
    await client().publish(grown, 'x'.repeat(9));
    await expect(client().publish(grown, 'x'.repeat(10))).rejects.toMatchObject(tooLarge(16, 12));
  });
});

it('without maxBytes it is 1 MiB', async () => {
  const usual = defineTopic<unknown>('input.usual', { groups: ['g'] });
  await client().publish(usual, new Uint8Array(MIB));
  await expect(client().publish(usual, new Uint8Array(MIB + 1))).rejects.toMatchObject(tooLarge(MIB + 1, MIB));
});

it('or what the adapter takes, if that is less', async () => {
  const inner = memory();
  const adapter = { ...inner, capabilities: { ...inner.capabilities, maxBodyBytes: 100 } };
  await using modest = await connect({ adapter });
  const usual = defineTopic<unknown>('input.modest', { groups: ['g'] });
  await modest.publish(usual, new Uint8Array(100));
  await expect(modest.publish(usual, new Uint8Array(101))).rejects.toMatchObject(tooLarge(101, 100));
});

it('the outbox refuses the same, and stores nothing', async () => {
  const store = sqliteStore({ path: ':memory:' });
  try {
    await store.migrate();
    const small = defineTopic<string>('input.outbox-small', { groups: ['g'], maxBytes: 10 });
    const add = (payload: string) => store.outbox.transaction((tx) => store.outbox.add(tx, small, payload));
    await add('x'.repeat(8));
    await expect(add('x'.repeat(9))).rejects.toMatchObject(tooLarge(11, 10));
    await expect(
      store.outbox.transaction((tx) => store.outbox.addAll(tx, small, ['x', 'x'.repeat(9)])),
    ).rejects.toMatchObject({ code: 'message-too-large' });
    expect((await store.outbox.relay.pending()).total).toBe(1);
  } finally {
    await store.close();
  }
});

describe('times', () => {
  const timed = defineTopic<number>('input.timed', { groups: ['g'] });
  const bad: readonly (readonly [string, object, RegExp])[] = [
    ['a misspelt name', { dealyMs: 5 }, /did you mean "delayMs"/],
    ['a negative delay', { delayMs: -1 }, /"delayMs" must be .*received -1/],
    ['a NaN delay', { delayMs: Number.NaN }, /received NaN/],
    ['an infinite delay', { delayMs: Number.POSITIVE_INFINITY }, /received Infinity/],
    ['a delay above what timers keep', { delayMs: 2 ** 31 }, /received 2147483648/],
    ['a delay until the year 9999', { delayMs: Date.UTC(9999, 0) - Date.now() }, /"delayMs"/],
    ['a delay as text', { delayMs: '5' }, /received "5"/],
    ['a delay as a Date', { delayMs: new Date(0) }, /received an object \(Date\)/],
    ['a timeout of 0', { timeoutMs: 0 }, /"timeoutMs"/],
    ['an infinite timeout', { timeoutMs: Number.POSITIVE_INFINITY }, /"timeoutMs"/],
    ['an expiry of 0', { expiresInMs: 0 }, /"expiresInMs"/],
    ['an expiry in the past', { expiresInMs: -5 }, /"expiresInMs"/],
    ['an expiry in the year 9999', { expiresInMs: Date.UTC(9999, 0) - Date.now() }, /"expiresInMs"/],
    ['an unknown lane', { priority: 'urgent' }, /'high', 'normal', 'low'/],
    ['a signal that is none', { signal: {} }, /AbortSignal/],
    ['several at once, all listed', { dealyMs: 5, timeoutMs: -1 }, /dealyMs.*timeoutMs/],
  ];
  it.each(bad)('%s is refused, and nothing is stored', async (_, options, says) => {
    const error: unknown = await client()
      .publish(timed, 1, options as never)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(says);
    expect((await client().backlog(timed, 'g')).ready).toBe(0);
  });
  it('options that are no object are refused', async () => {
    await expect(client().publish(timed, 1, 'x' as never)).rejects.toThrow(/must be an object/);
  });
  it('the longest delay, 24.8 days, and fractions of milliseconds are fine', async () => {
    await client().publish(timed, 1, { delayMs: 2 ** 31 - 1 });
    await client().publish(timed, 1, { delayMs: 0.5, expiresInMs: 0.5 });
  });
  it('S14: a delay on an ordered topic is refused', async () => {
    const ordered = defineTopic<number>('input.ordered', { key: () => 'k', groups: { g: { order: 'key' } } });
    await expect(client().publish(ordered, 1, { delayMs: 10 })).rejects.toMatchObject({
      code: 'invalid-message',
      message: expect.stringContaining('S14'),
    });
  });
  it('S3: a priority on a topic without lanes is refused', async () => {
    await expect(client().publish(timed, 1, { priority: 'high' })).rejects.toMatchObject({
      code: 'invalid-message',
      message: expect.stringContaining('no lanes'),
    });
  });
});
