import { defineTopic } from 'holdfast';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { refusing } from './refused.ts';

const { topic, refusal, client, received } = refusing('input.payloads');

describe('payloads that JSON would change are refused with their path', () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  class Money {}
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['undefined', { a: undefined }, '$.a'],
    ['undefined alone', undefined, '$'],
    ['a function', { a: () => 1 }, '$.a'],
    ['a function alone', () => 1, '$'],
    ['a symbol', { a: Symbol('s') }, '$.a'],
    ['a bigint', { a: [1n] }, '$.a[0]'],
    ['NaN', { a: Number.NaN }, '$.a'],
    ['Infinity', { a: Number.POSITIVE_INFINITY }, '$.a'],
    ['-Infinity', [Number.NEGATIVE_INFINITY], '$[0]'],
    ['-0', { a: -0 }, '$.a'],
    ['a Date', { a: new Date(0) }, '$.a'],
    ['a Map', { a: new Map() }, '$.a'],
    ['a Set', { a: new Set() }, '$.a'],
    ['a RegExp', { a: /a/ }, '$.a'],
    ['an Error', { a: new Error('x') }, '$.a'],
    ['a boxed string', { a: Object('x') }, '$.a'],
    ['a class instance', { a: new Money() }, '$.a'],
    ['an instance of a class of arrays', { a: new (class List extends Array {})() }, '$.a'],
    ['a hole', { a: new Array(2) }, '$.a[0]'],
    ['a hole at the end', { a: Object.assign([1], { length: 2 }) }, '$.a[1]'],
    ['an array with a name of its own', { a: Object.assign([1], { total: 1 }) }, '$.a'],
    ['toJSON', { a: { toJSON: () => 1 } }, '$.a'],
    ['a symbol key', { a: { [Symbol('k')]: 1 } }, '$.a'],
    ['a lone surrogate', { a: '\ud800' }, '$.a'],
    ['a key with a lone surrogate', { a: { '\ud800': 1 } }, '$.a'],
    ['a key named __proto__', JSON.parse('{"a": {"__proto__": 1}}'), '$.a'],
    ['constructor.prototype', JSON.parse('{"a": {"constructor": {"prototype": 1}}}'), '$.a'],
    ['bytes within', { a: new Uint8Array(2) }, '$.a'],
    ['an array of floats', new Float64Array(2), '$'],
    ['a DataView', new DataView(new ArrayBuffer(2)), '$'],
    ['a path through odd names', { 'a b\n': [{ 'c-d': Number.NaN }] }, '$["a b\\n"][0].c-d'],
  ];
  it.each(cases)('%s', async (_, payload, path) => {
    const refused = await refusal(payload);
    expect(refused.code).toBe('not-encodable');
    expect(refused.details.path).toBe(path);
    expect(refused.message.endsWith(` at ${path}`)).toBe(true);
  });

  it('a cycle', async () => {
    expect((await refusal(cyclic)).message).toMatch(/64 levels \(or a cycle\) at \$\.self\.self/);
  });
  it('a name of 1 MB is not repeated', async () => {
    expect((await refusal({ ['x'.repeat(1_000_000)]: Number.NaN })).message.length).toBeLessThan(300);
  });
  it('a getter, a Proxy and a prototype trap that throw', async () => {
    const boom = (): never => {
      throw new Error('no');
    };
    const odd = [
      {
        get a() {
          return boom();
        },
      },
      new Proxy({}, { ownKeys: boom }),
      new Proxy({}, { getPrototypeOf: boom }),
      new Proxy({ a: 1 }, { get: boom }),
      new Proxy([1], { get: boom }),
    ];
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    for (const payload of [...odd, revoked.proxy]) expect((await refusal(payload)).code).toBe('not-encodable');
  });
  it('100,000 levels', async () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    expect(await refusal(deep)).toMatchObject({ code: 'not-encodable', message: expect.stringContaining('64 levels') });
  });
});

it('what an object inherits or hides is neither sent nor refused where JSON would do the same', async () => {
  await client().publish(topic, Object.assign(Object.create(null), { a: 1 }));
  expect((await received()).payload).toEqual({ a: 1 });
});

it('a payload is encoded once, at accept time: later changes have no effect', async () => {
  const payload = { n: 1 };
  const published = client().publish(topic, payload);
  payload.n = 2;
  await published;
  expect((await received()).payload).toEqual({ n: 1 });
});

describe('bytes travel as they are', () => {
  it.each([
    ['a Uint8Array', () => Uint8Array.from({ length: 256 }, (_, byte) => byte)],
    ['a Buffer', () => Buffer.from(Uint8Array.from({ length: 256 }, (_, byte) => byte))],
    [
      'a view into a larger buffer',
      () => new Uint8Array(Uint8Array.from({ length: 512 }, (_, byte) => byte).buffer, 256),
    ],
  ])('%s, as they were when they were accepted', async (_, make) => {
    const bytes = make();
    const published = client().publish(topic, bytes);
    bytes.fill(0);
    await published;
    const { payload } = await received();
    expect(payload).toBeInstanceOf(Uint8Array);
    expect([...(payload as Uint8Array)]).toEqual(Array.from({ length: 256 }, (_, byte) => byte));
  });
  it('none are a message, too', async () => {
    await client().publish(topic, new Uint8Array());
    expect((await received()).payload).toEqual(new Uint8Array());
  });
});

describe('codecs of the user', () => {
  const by = (encode: () => unknown) =>
    defineTopic<unknown>(`input.codec`, {
      groups: ['g'],
      codec: { contentType: 'text/odd', encode: encode as never, decode: () => 1 },
    });
  it.each([
    ['text', () => 'a'],
    ['nothing', () => undefined],
    ['a promise', async () => new Uint8Array()],
    ['a list', () => [1, 2]],
  ])('one that encodes to %s is refused', async (_, encode) => {
    await expect(client().publish(by(encode), 1)).rejects.toMatchObject({ code: 'not-encodable', outcome: 'not-sent' });
  });
  it('one that throws has refused the payload', async () => {
    const error = new RangeError('too odd');
    const codec = by(() => {
      throw error;
    });
    await expect(client().publish(codec, 1)).rejects.toMatchObject({ code: 'not-encodable', cause: error });
  });
});

describe('schemas', () => {
  it('a payload that fails is refused with paths, without its values', async () => {
    const typed = defineTopic('input.typed', { schema: z.object({ card: z.string().max(3) }), groups: ['g'] });
    await expect(client().publish(typed, { card: '4111-1111' })).rejects.toMatchObject({
      code: 'schema-mismatch',
      outcome: 'not-sent',
      message: expect.stringMatching(/^(?!.*4111).*card: /s),
    });
  });
  it('S13: an async schema is awaited, and its transformed output is what consumers get', async () => {
    const typed = defineTopic('input.async', {
      schema: z
        .object({ n: z.string().refine(async (text) => text !== 'bad') })
        .transform(({ n }) => ({ n: Number(n) })),
      groups: ['g'],
    });
    await expect(client().publish(typed, { n: 'bad' })).rejects.toMatchObject({ code: 'schema-mismatch' });
    await client().publish(typed, { n: '7' });
    const { promise, resolve } = Promise.withResolvers<unknown>();
    await client().consume(typed, { group: 'g' }, (message) => resolve(message.payload));
    expect(await promise).toEqual({ n: 7 });
  });
  it.each(['throws', 'rejects'])('one that %s has refused the payload', async (how) => {
    const error = new RangeError('schema broken');
    const validate = (): never | Promise<never> => {
      if (how === 'rejects') return Promise.reject(error);
      throw error;
    };
    const odd = defineTopic('input.odd-schema', {
      schema: { '~standard': { version: 1, vendor: 'odd', validate } },
      groups: ['g'],
    });
    await expect(client().publish(odd, 1)).rejects.toMatchObject({
      code: 'schema-mismatch',
      outcome: 'not-sent',
      cause: error,
    });
  });
  it('a schema that is a function with properties is one', () => {
    const schema = Object.assign(() => 1, {
      '~standard': { version: 1, vendor: 'odd', validate: () => ({ value: 1 }) },
    });
    expect(defineTopic('input.function-schema', { schema: schema as never }).options.schema).toBe(schema);
  });
});
