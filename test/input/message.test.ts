import { type Client, connect, defineTopic, isHoldfastError, type PublishOptions } from 'holdfast';
import { memory } from 'holdfast/memory';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

const topic = defineTopic<unknown>('input.messages', { groups: ['g'] });
let client: Client;
beforeEach(async () => {
  client = await connect({ adapter: memory() });
});
afterEach(() => client.close());

/** What a refused publish says; fails if it was accepted. */
async function refusal(payload: unknown, options?: PublishOptions): Promise<{ code: string; message: string }> {
  const error: unknown = await client.publish(topic, payload, options).then(
    () => new Error('it was accepted'),
    (reason: unknown) => reason,
  );
  expect((await client.backlog(topic, 'g')).ready, 'nothing was stored').toBe(0);
  if (isHoldfastError(error)) {
    expect(error.outcome).toBe('not-sent');
    return { code: error.code, message: error.message };
  }
  if (error instanceof TypeError) return { code: 'TypeError', message: error.message };
  throw error;
}

describe('payloads that JSON would change are refused with their path', () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['undefined', { a: undefined }, '$.a'],
    ['undefined alone', undefined, '$'],
    ['a function', { a: () => 1 }, '$.a'],
    ['a symbol', { a: Symbol('s') }, '$.a'],
    ['a bigint', { a: [1n] }, '$.a[0]'],
    ['NaN', { a: Number.NaN }, '$.a'],
    ['Infinity', { a: Number.POSITIVE_INFINITY }, '$.a'],
    ['-0', { a: -0 }, '$.a'],
    ['a Date', { a: new Date(0) }, '$.a'],
    ['a Map', { a: new Map() }, '$.a'],
    ['a Set', { a: new Set() }, '$.a'],
    ['a class instance', { a: new (class Money {})() }, '$.a'],
    ['a cycle', cyclic, '$.self'],
    ['a hole', { a: new Array(2) }, '$.a[0]'],
    ['toJSON', { a: { toJSON: () => 1 } }, '$.a'],
    ['a symbol key', { a: { [Symbol('k')]: 1 } }, '$.a'],
    ['a lone surrogate', { a: '\ud800' }, '$.a'],
    ['a key named __proto__', JSON.parse('{"__proto__": 1}'), '$'],
    ['bytes within', { a: new Uint8Array(2) }, '$.a'],
  ];
  for (const [name, payload, path] of cases) {
    it(name, async () => {
      const { code, message } = await refusal(payload);
      expect(code).toBe('not-encodable');
      expect(message).toContain(path);
    });
  }

  it('a getter that throws', async () => {
    const { code, message } = await refusal({
      get a() {
        throw new Error('no');
      },
    });
    expect(code).toBe('not-encodable');
    expect(message).toContain('no');
  });
});

it('a payload is encoded once, at accept time: later changes have no effect', async () => {
  const payload = { n: 1 };
  const published = client.publish(topic, payload);
  payload.n = 2;
  await published;
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await client.consume(topic, { group: 'g' }, (message) => resolve(message.payload));
  expect(await promise).toEqual({ n: 1 });
});

it('a payload that fails its schema is refused with paths, without its values', async () => {
  const typed = defineTopic('input.typed', { schema: z.object({ card: z.string().max(3) }), groups: ['g'] });
  await expect(client.publish(typed, { card: '4111-1111' })).rejects.toMatchObject({
    code: 'schema-mismatch',
    outcome: 'not-sent',
    message: expect.stringMatching(/^(?!.*4111).*card: /s),
  });
});

it('S13: an async schema is awaited, and its transformed output is what consumers get', async () => {
  const typed = defineTopic('input.async', {
    schema: z.object({ n: z.string().refine(async (text) => text !== 'bad') }).transform(({ n }) => ({ n: Number(n) })),
    groups: ['g'],
  });
  await expect(client.publish(typed, { n: 'bad' })).rejects.toMatchObject({ code: 'schema-mismatch' });
  await client.publish(typed, { n: '7' });
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await client.consume(typed, { group: 'g' }, (message) => resolve(message.payload));
  expect(await promise).toEqual({ n: 7 });
});

describe('sizes', () => {
  const small = defineTopic<string>('input.small', { groups: ['g'], maxBytes: 10 });
  it('exactly the limit is accepted, one byte more is not', async () => {
    await client.publish(small, 'x'.repeat(8));
    await expect(client.publish(small, 'x'.repeat(9))).rejects.toMatchObject({
      code: 'message-too-large',
      outcome: 'not-sent',
      details: { bytes: 11, maxBytes: 10 },
    });
  });
});

describe('ids, keys and dedupe keys', () => {
  const bad: readonly (readonly [string, PublishOptions])[] = [
    ['an empty id', { id: '' }],
    ['an id of 129 characters', { id: 'x'.repeat(129) }],
    ['an id with a NUL', { id: 'a\0b' }],
    ['an id with a newline', { id: 'a\nb' }],
    ['an id that is a number', { id: 7 as never }],
    ['an empty dedupe key', { dedupeKey: '' }],
    ['a key that is null', { key: null as never }],
    ['a key that is a number', { key: 7 as never }],
    ['a key with a lone surrogate', { key: '\udfff' }],
    ['a key of 1,025 bytes', { key: 'ä'.repeat(513) }],
  ];
  for (const [name, options] of bad) {
    it(`${name} is refused`, async () =>
      expect((await refusal(1, options)).code).toBe(
        name === 'a key that is null' ? 'invalid-message' : 'invalid-message',
      ));
  }
  it('an empty key is a key of its own', async () => {
    await client.publish(topic, 1, { key: '' });
    const { promise, resolve } = Promise.withResolvers<unknown>();
    await client.consume(topic, { group: 'g' }, (message) => resolve(message.key));
    expect(await promise).toBe('');
  });
});

describe('headers', () => {
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`h${index}`, 'v']));
  const bad: readonly (readonly [string, unknown])[] = [
    ['CR/LF in a value', { a: 'b\r\nc' }],
    ['NUL in a value', { a: 'b\0c' }],
    ['CR in a name', { 'a\r': 'b' }],
    ['x-death', { 'x-death': '1' }],
    ['our own prefix', { 'hf-attempts': '0' }],
    ['our own prefix in capitals', { 'HF-attempts': '0' }],
    ['a CloudEvents attribute', { ce_id: '1' }],
    ['65 headers', many],
    ['more than 16 KiB', { a: 'x'.repeat(16 * 1024) }],
    ['a number', { a: 1 }],
    ['an object', { a: { b: 'c' } }],
    ['an array instead of an object', ['a']],
    ['__proto__', JSON.parse('{"__proto__": "x"}')],
  ];
  for (const [name, headers] of bad) {
    it(`${name} is refused`, async () =>
      expect((await refusal(1, { headers: headers as never })).code).toBe('invalid-message'));
  }
});

describe('options', () => {
  const bad: readonly (readonly [string, unknown, RegExp])[] = [
    ['a misspelt name', { dealyMs: 5 }, /did you mean "delayMs"/],
    ['a negative delay', { delayMs: -1 }, /"delayMs" must be .*received -1/],
    ['a NaN delay', { delayMs: Number.NaN }, /received NaN/],
    ['a delay above what timers keep', { delayMs: 2 ** 31 }, /received 2147483648/],
    ['a delay as text', { delayMs: '5' }, /received "5"/],
    ['a timeout of 0', { timeoutMs: 0 }, /"timeoutMs"/],
    ['an infinite timeout', { timeoutMs: Number.POSITIVE_INFINITY }, /"timeoutMs"/],
    ['an expiry of 0', { expiresInMs: 0 }, /"expiresInMs"/],
    ['an unknown lane', { priority: 'urgent' }, /'high', 'normal', 'low'/],
    ['a signal that is none', { signal: {} }, /AbortSignal/],
    ['options that are no object', 'x', /must be an object/],
    ['several at once, all listed', { dealyMs: 5, timeoutMs: -1 }, /dealyMs.*timeoutMs/],
  ];
  for (const [name, options, says] of bad) {
    it(`${name} is a TypeError that says so`, async () => {
      const { code, message } = await refusal(1, options as never);
      expect(code).toBe('TypeError');
      expect(message).toMatch(says);
    });
  }

  it('a priority on a topic without lanes is refused (S3)', async () => {
    expect(await refusal(1, { priority: 'high' })).toMatchObject({
      code: 'invalid-message',
      message: expect.stringContaining('no lanes'),
    });
  });
  it('S14: a delay on an ordered topic is refused', async () => {
    const ordered = defineTopic<number>('input.ordered', { key: () => 'k', groups: { g: { order: 'key' } } });
    await expect(client.publish(ordered, 1, { delayMs: 10 })).rejects.toMatchObject({
      code: 'invalid-message',
      message: expect.stringContaining('S14'),
    });
  });
});

it('publishing after close is refused as not-sent', async () => {
  await client.close();
  await expect(client.publish(topic, 1)).rejects.toMatchObject({ code: 'client-closed', outcome: 'not-sent' });
});
