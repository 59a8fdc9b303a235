import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonCodec } from '../../src/index.ts';

const roundTrip = (value: unknown): unknown => jsonCodec.decode(jsonCodec.encode(value));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What JSON holds without changing it. */
const faithful = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.string({ unit: 'grapheme' }),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? 0 : value)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.string({ unit: 'grapheme' }).filter((name) => name !== '__proto__' && name !== 'toJSON'),
      tie('value'),
      { maxKeys: 4, noNullPrototype: true },
    ),
  ),
})).value;

describe('jsonCodec', () => {
  it('gives back what it took', () => {
    fc.assert(
      fc.property(faithful, (value) => {
        expect(roundTrip(value)).toEqual(value);
      }),
    );
  });

  it('gives back what it took, or refuses: it never changes anything', () => {
    fc.assert(
      fc.property(fc.anything({ withDate: true, withMap: true, withSparseArray: true, withBigInt: true }), (value) => {
        let encoded: Uint8Array;
        try {
          encoded = jsonCodec.encode(value);
        } catch (error) {
          expect(error).toMatchObject({ code: 'not-encodable', outcome: 'not-sent' });
          return;
        }
        expect(JSON.stringify(jsonCodec.decode(encoded))).toBe(JSON.stringify(value));
      }),
    );
  });

  it('names the path of what it refuses, and not the value', () => {
    const payload = { orders: [{ total: 1 }, { total: Number.NaN, card: '4111' }] };
    expect(() => jsonCodec.encode(payload)).toThrow(/\$\.orders\[1\]\.total/);
    expect(() => jsonCodec.encode({ secret: new Map([['4111', 1]]) })).not.toThrow(/4111/);
  });

  it('refuses a cycle, and depth that would end the stack', () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    expect(() => jsonCodec.encode(cycle)).toThrow(/levels/);
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    expect(() => jsonCodec.encode(deep)).toThrow(/levels/);
    expect(() => jsonCodec.decode(bytes(`${'['.repeat(65)}${']'.repeat(65)}`))).toThrow(/levels/);
  });

  it.each([
    ['invalid UTF-8', Uint8Array.from([0x22, 0xff, 0x22])],
    ['a byte order mark', bytes('\ufeff{}')],
    ['nothing', bytes('')],
    ['half a document', bytes('{"a":')],
    ['a key named __proto__', bytes('{"a":{"__proto__":{"admin":true}}}')],
  ])('refuses to decode %s', (_, body) => {
    expect(() => jsonCodec.decode(body)).toThrow();
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  it('never dies of what it is given to decode', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        try {
          jsonCodec.decode(body);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});
