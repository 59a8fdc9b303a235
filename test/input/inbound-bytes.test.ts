import { type Client, type Codec, connect, defineTopic, type Letter, memoryDedupe } from 'holdfast';
import { memory } from 'holdfast/memory';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityOf } from '../../src/message.ts';
import { until } from '../conformance/until.ts';

/** Publishes bytes as somebody would who does not use holdfast's codec. */
const foreign: Codec = {
  contentType: 'application/json',
  encode: (bytes) => bytes as Uint8Array,
  decode: () => {
    throw new Error('not used');
  },
};
const MOST = 64 * 1024 * 1024;
const from = defineTopic<Uint8Array>('input.inbound', { codec: foreign, groups: ['g'], maxBytes: MOST });
const topic = defineTopic<unknown>('input.inbound', { groups: ['g'] });
let client: Client;
beforeEach(async () => {
  client = await connect({ adapter: memory() });
});
afterEach(() => client.close());

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const keys = (count: number): string => `{${Array.from({ length: count }, (_, index) => `"k${index}":0`).join(',')}}`;

/** What became of the bytes, and of a harmless message that follows them. */
async function fate(
  body: Uint8Array,
): Promise<{ readonly payloads: readonly unknown[]; readonly letters: readonly Letter[] }> {
  await client.publish(from, body);
  await client.publish(from, bytesOf('"next"'));
  const payloads: unknown[] = [];
  const consumer = await client.consume(
    topic,
    { group: 'g', concurrency: 1 },
    ({ payload }) => void payloads.push(payload),
  );
  await until('the harmless message', () => payloads.includes('next'));
  await consumer.close();
  const letters: Letter[] = [];
  for await (const letter of client.deadLetters(topic, 'g').list()) letters.push(letter);
  return { payloads, letters };
}

describe('is dead-lettered with its bytes as they came, and never handled', () => {
  const bad: readonly (readonly [string, string | Uint8Array, string, RegExp])[] = [
    ['a key named __proto__', '{"a":{"__proto__":{"admin":true}}}', 'undecodable', /__proto__/],
    ['__proto__ in escapes', '{"\\u005f_proto__":{"admin":true}}', 'undecodable', /__proto__/],
    ['constructor.prototype', '{"constructor":{"prototype":{"admin":true}}}', 'undecodable', /constructor/],
    ['a key twice', '{"admin":false,"admin":true}', 'undecodable', /twice/],
    ['a key twice, once in escapes', '{"admin":false,"\\u0061dmin":true}', 'undecodable', /twice/],
    ['a key twice beside colons in escapes', '{"a":"\\u003a","a":"\\u003a"}', 'undecodable', /twice/],
    ['a key twice beside colons in strings', '{"x:y":"::","b":{"c":1,"c":":"}}', 'undecodable', /twice/],
    ['65 levels', '['.repeat(65) + ']'.repeat(65), 'undecodable', /64 levels/],
    ['100,000 levels of arrays', '['.repeat(1e5) + ']'.repeat(1e5), 'undecodable', /64 levels/],
    ['100,000 levels of objects', `${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}`, 'undecodable', /64 levels/],
    ['500,000 brackets that nobody closes', '['.repeat(5e5), 'undecodable', /not a JSON/],
    ['1,000,000 keys', keys(1e6), 'message-too-large', /more than its limit of 1048576/],
    ['a byte order mark', '\ufeff{}', 'undecodable', /not a JSON/],
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le'), 'undecodable', /not/],
    ['invalid UTF-8', Uint8Array.from([0x22, 0xc3, 0x28, 0x22]), 'undecodable', /utf-8/],
    ['nothing', '', 'undecodable', /not a JSON/],
    ['half a document', '{"a":', 'undecodable', /not a JSON/],
    ['trailing junk', '{"card":"4111"} 4111', 'undecodable', /not a JSON/],
    ['two documents', '{}{}', 'undecodable', /not a JSON/],
    ['NaN', '{"a":NaN}', 'undecodable', /not a JSON/],
    ['a comment', '{/*4111*/}', 'undecodable', /not a JSON/],
    ['a number beyond all bounds', '[1e400]', 'undecodable', /digits/],
    ['an id of more digits than a number holds', '{"id":9007199254740993}', 'undecodable', /digits/],
    ['a million digits', `[${'9'.repeat(1e6)}]`, 'undecodable', /digits/],
    ['a NUL', '"a\0b"', 'undecodable', /not a JSON/],
  ];
  it.each(bad)('%s', async (_, given, reason, says) => {
    const body = typeof given === 'string' ? bytesOf(given) : given;
    const { payloads, letters } = await fate(body);
    expect(payloads).toEqual(['next']);
    expect(letters).toHaveLength(1);
    expect(letters[0]).toMatchObject({ reason, attempts: 0, error: expect.stringMatching(says) });
    expect(Buffer.compare(letters[0]!.body, body)).toBe(0);
    // The payload is never shown.
    expect(letters[0]!.error).not.toMatch(/4111|admin/);
    expect(({} as { admin?: unknown }).admin).toBeUndefined();
  });
});

describe('is handled as it is', () => {
  it.each<readonly [string, string, unknown]>([
    ['white space everywhere', ' \r\n\t{ "a" : 1 , "b" : [ ] } ', { a: 1, b: [] }],
    ['escapes and colons', '{"a:b":"c\\u003a:\\"","d":"\\\\"}', { 'a:b': 'c::"', d: '\\' }],
    ['a harmless constructor', '{"constructor":"x","prototype":{}}', { constructor: 'x', prototype: {} }],
    [
      'large numbers that a number holds',
      '[9007199254740992,1e300,1152921504606847000,0.1]',
      [2 ** 53, 1e300, 2 ** 60, 0.1],
    ],
    ['64 levels', '['.repeat(64) + ']'.repeat(64), JSON.parse('['.repeat(64) + ']'.repeat(64))],
    ['90,000 keys', keys(9e4), JSON.parse(keys(9e4))],
    ['no object at all', 'null', null],
  ])('%s', async (_, text, value) => {
    const { payloads, letters } = await fate(bytesOf(text));
    expect(letters).toEqual([]);
    expect(payloads).toEqual([value, 'next']);
  });
});

it('bytes are handed over as they are, whatever they hold and however long they are', async () => {
  const bytes = defineTopic<unknown>('input.inbound-bytes', { groups: ['g'], maxBytes: MOST });
  const small = defineTopic<unknown>('input.inbound-bytes', { groups: ['g'], maxBytes: 1 });
  await client.publish(bytes, new Uint8Array(2 * 1024 * 1024).fill(0x5b));
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await client.consume(small, { group: 'g' }, ({ payload }) => resolve(payload));
  expect((await promise) as Uint8Array).toHaveLength(2 * 1024 * 1024);
});

it('what somebody does to the bytes of a letter spoils no replay', async () => {
  await client.publish(from, bytesOf('{"a":1'));
  const consumer = await client.consume(topic, { group: 'g' }, () => undefined);
  const letters = client.deadLetters(topic, 'g');
  await until('the dead letter', async () => (await letters.count()) === 1);
  await consumer.close();
  for await (const letter of letters.list()) letter.body.fill(0);
  for await (const letter of letters.list()) expect(Buffer.from(letter.body).toString()).toBe('{"a":1');
});

it('what was too large is handled after it was replayed under a higher limit', async () => {
  await client.publish(from, bytesOf(keys(2e5)));
  const consumer = await client.consume(topic, { group: 'g' }, () => undefined);
  await until('the dead letter', async () => (await client.deadLetters(topic, 'g').count()) === 1);
  await consumer.close();
  await client.deadLetters(topic, 'g').replay();
  const raised = defineTopic<object>('input.inbound', { groups: ['g'], maxBytes: MOST });
  const { promise, resolve } = Promise.withResolvers<object>();
  await client.consume(raised, { group: 'g' }, ({ payload }) => resolve(payload));
  expect(Object.keys(await promise)).toHaveLength(2e5);
});

describe('ids of foreign producers', () => {
  const identity = (id: string, source = 's'): string | undefined => identityOf({ id, source, dedupeKey: undefined });
  it('which no index or text column takes are known by their hash, each by its own', () => {
    const odd = ['a\0b', 'a\0c', 'x'.repeat(10_240), `${'x'.repeat(10_240)}y`, '\ud800'];
    const identities = odd.map((id) => identity(id));
    expect(new Set(identities).size).toBe(odd.length);
    for (const each of identities) expect(each).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(identityOf({ id: 'a', source: 's', dedupeKey: 'k\0' })).toMatch(/^sha256:/);
  });
  it('which are fine stay readable, the longest of our own too', () => {
    expect(identity('a')).toBe('id:s/a');
    expect(identity('x'.repeat(128), '/'.repeat(128))).toMatch(/^id:%2F/);
  });
  it('are deduplicated all the same', async () => {
    let calls = 0;
    await client.consume(topic, { group: 'g', dedupe: memoryDedupe() }, () => {
      calls += 1;
    });
    const repeats: unknown[] = [];
    client.on('duplicate', (event) => repeats.push(event));
    await client.publish(from, bytesOf('1'), { id: 'x'.repeat(128), dedupeKey: 'ä'.repeat(120) });
    await client.publish(from, bytesOf('1'), { id: 'y', dedupeKey: 'ä'.repeat(120) });
    await until('the repeat', () => repeats.length === 1);
    expect(calls).toBe(1);
  });
});
