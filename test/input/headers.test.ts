import { describe, expect, it } from 'vitest';
import { fromRecord } from '../../adapters/kafka/headers.ts';
import { toIncoming } from '../../adapters/rabbitmq/headers.ts';
import { fromFields } from '../../adapters/redis/headers.ts';
import type { Incoming } from '../../src/port.ts';
import { refusing } from './refused.ts';

const { topic, refusal, client, received } = refusing('input.headers');

describe('headers that are refused', () => {
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`h${index}`, 'v']));
  const bad: readonly (readonly [string, unknown])[] = [
    ['CR/LF in a value', { a: 'b\r\nc: d' }],
    ['NUL in a value', { a: 'b\0c' }],
    ['an ANSI sequence in a value', { a: '\u001b[31m' }],
    ['a lone surrogate in a value', { a: '\ud800' }],
    ['CR in a name', { 'a\r': 'b' }],
    ['a colon in a name', { 'a:b': 'c' }],
    ['a name in other letters', { ä: 'b' }],
    ['an empty name', { '': 'b' }],
    ['a name of 129 characters', { ['a'.repeat(129)]: 'b' }],
    ['x-death', { 'x-death': '1' }],
    ['X-Death', { 'X-Death': '1' }],
    ['our own prefix', { 'hf-attempts': '0' }],
    ['our own prefix in capitals', { 'HF-attempts': '0' }],
    ['an attribute of CloudEvents on Kafka', { ce_id: '1' }],
    ['an attribute of CloudEvents on AMQP', { cloudEvents_id: '1' }],
    ['65 headers', many(65)],
    ['10,000 headers', many(10_000)],
    ['more than 16 KiB', { a: 'x'.repeat(16 * 1024) }],
    ['a value of 1 MiB', { a: 'x'.repeat(1024 * 1024) }],
    ['a number', { a: 1 }],
    ['null', { a: null }],
    ['a Buffer', { a: Buffer.from('b') }],
    ['an object', { a: { b: 'c' } }],
    ['an array instead of an object', ['a']],
    ['a Map, which would seem to be empty', new Map([['a', 'b']])],
    ['the Headers of fetch, which would seem to be empty', new Headers({ a: 'b' })],
    ['__proto__', JSON.parse('{"__proto__": "x"}')],
    [
      'a getter that throws',
      {
        get a() {
          throw new Error('no');
        },
      },
    ],
  ];
  it.each(bad)('%s', async (_, headers) => {
    const { code, details, message } = await refusal(1, { headers: headers as never });
    expect(code).toBe('invalid-message');
    expect(details).toEqual({ field: 'headers' });
    expect(message.length, 'no value is shown').toBeLessThan(300);
  });
});

it('64 headers, and 16 KiB of them, are fine', async () => {
  const headers = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`h${index}`, 'x'.repeat(250)]));
  await client().publish(topic, 1, { headers });
  expect((await received()).headers).toEqual(headers);
});

it('headers are taken at accept time: later changes have no effect', async () => {
  const headers: Record<string, string> = { a: '1' };
  const published = client().publish(topic, 1, { headers });
  headers.a = '2';
  headers.b = '3';
  await published;
  expect((await received()).headers).toEqual({ a: '1' });
});

describe('what a producer spoofs is not taken for ours', () => {
  const spoofed = {
    'x-death': 'x',
    'hf-attempts': '7',
    'hf-id': 'spoofed',
    __proto__pollution: 'x',
    constructor: 'c',
    fine: 'yes',
  };
  const text = (value: string): Buffer => Buffer.from(value);
  const wires: readonly (readonly [string, () => Incoming])[] = [
    [
      'rabbitmq',
      () =>
        toIncoming(
          { headers: JSON.parse(JSON.stringify(spoofed).replace('__proto__pollution', '__proto__')) } as never,
          text('1'),
        ),
    ],
    [
      'kafka',
      () => {
        const headers = Object.fromEntries(Object.entries(spoofed).map(([name, value]) => [name, text(value)]));
        Object.defineProperty(headers, '__proto__', { value: text('x'), enumerable: true });
        return fromRecord({ key: null, value: text('1'), headers, timestamp: 1, offset: '0', partition: 0 } as never);
      },
    ],
    [
      'redis',
      () =>
        fromFields(
          Object.entries({ ...spoofed, body: '1' }).flatMap(([name, value]) => [
            text(name === '__proto__pollution' ? '__proto__' : name),
            text(value),
          ]),
        ),
    ],
  ];
  it.each(wires)('%s', (_, read) => {
    const { headers } = read();
    expect(headers.fine).toBe('yes');
    expect(Object.keys(headers).filter((name) => name.startsWith('hf-') || name.startsWith('x-'))).toEqual([]);
    expect(Object.getPrototypeOf(headers) === Object.prototype || Object.getPrototypeOf(headers) === null).toBe(true);
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });
});
