import fc from 'fast-check';
import { defineTopic } from 'holdfast';
import { describe, expect, it } from 'vitest';
import { deadTopic, delayGroup, delayTopic, groupId, laneTopic, retryTopic } from '../../adapters/kafka/names.ts';
import {
  deadLock,
  deadQueue,
  groupLadder,
  partitionsMarker,
  queueName,
  shardsExchange,
  topicLadder,
} from '../../adapters/rabbitmq/topology.ts';
import { groupKey, streamSuffix, topicKey } from '../../adapters/redis/keys.ts';
import type { PublishOptions } from '../../src/index.ts';
import { refusing } from './refused.ts';

const { topic, refusal, client, received } = refusing('input.names');

describe('names of topics and groups', () => {
  const bad = [
    '',
    ' ',
    'a b',
    'a/b',
    '/a',
    '..',
    'a..b',
    'a--b',
    '-a',
    '.a',
    'ä',
    '注文',
    'a\u200bb',
    'a\0',
    'a\n',
    'a#',
    'a*',
    'a?',
    'a:b',
    'a{b}',
    '$a',
    'amq.direct',
    '__consumer_offsets',
    'holdfast.x',
  ];
  for (const name of bad) {
    it(`${JSON.stringify(name)} is refused`, () => {
      expect(() => defineTopic(name)).toThrow(TypeError);
      expect(() => defineTopic('t', { groups: [name] })).toThrow(TypeError);
      expect(() => defineTopic('t', { groups: { [name]: {} } })).toThrow(TypeError);
    });
  }
  it('so are 201 characters of a topic, 65 of a group, and what is no text', () => {
    expect(() => defineTopic('x'.repeat(201))).toThrow(/1 to 200 characters/);
    expect(() => defineTopic('x'.repeat(1_000_000))).toThrow(/received a string of 1000000 characters/);
    expect(() => defineTopic('t', { groups: ['x'.repeat(65)] })).toThrow(/1 to 64 characters/);
    for (const name of [undefined, null, 7, {}, [], Buffer.from('a')]) {
      expect(() => defineTopic(name as never)).toThrow(TypeError);
    }
  });
  it('200 characters of the grammar are fine', () => {
    expect(defineTopic(`A.b_c-9${'x'.repeat(193)}`).name).toHaveLength(200);
  });
  it('a group that only consume names is held to the same grammar', async () => {
    for (const group of ['', 'a b', 'a--b', 'x'.repeat(65)]) {
      await expect(client().consume(topic, { group }, () => undefined)).rejects.toBeInstanceOf(TypeError);
    }
  });
});

describe('no two topics and groups meet on a broker', () => {
  const letters = fc.constantFrom('a', 'b', '.', '_', '-', '1');
  const nameOf = (longest: number) =>
    fc
      .string({ unit: letters, minLength: 1, maxLength: longest })
      .filter((name) => /^[a-z0-9]/.test(name) && !name.includes('--') && !name.includes('..'));
  const special = fc.constantFrom(
    'delay',
    'dead',
    'retry',
    'high',
    'low',
    'normal',
    'due',
    'shards',
    'partitions',
    'wake',
    'lock',
    '0',
  );
  const place = fc.record({ topic: fc.oneof(nameOf(6), special), group: fc.oneof(nameOf(4), special) });
  const lanes = ['high', 'normal', 'low'] as const;
  const rabbitmq = ({ topic, group }: { topic: string; group: string }): string[] => [
    shardsExchange(topic),
    partitionsMarker(topic),
    topicLadder(topic),
    ...lanes.flatMap((lane) => [queueName(topic, group, lane, undefined), queueName(topic, group, lane, 0)]),
    deadQueue(topic, group),
    deadLock(topic, group),
    groupLadder(topic, group),
  ];
  const kafkaTopics = ({ topic, group }: { topic: string; group: string }): string[] => [
    ...lanes.map((lane) => laneTopic(topic, lane)),
    delayTopic(topic),
    retryTopic(topic, group),
    deadTopic(topic, group),
  ];
  const kafkaGroups = ({ topic, group }: { topic: string; group: string }): string[] => [
    delayGroup(topic),
    groupId(topic, group),
  ];
  const redis = ({ topic, group }: { topic: string; group: string }): string[] => [
    topicKey('hf', topic),
    ...lanes
      .flatMap((lane) => [streamSuffix(lane, undefined), streamSuffix(lane, 0)])
      .map((suffix) => `${groupKey('hf', topic, group)}:${suffix}`),
  ];
  it.each([
    ['rabbitmq', rabbitmq],
    ['kafka topics', kafkaTopics],
    ['kafka groups', kafkaGroups],
    ['redis', redis],
  ] as const)('%s', (_, names) => {
    fc.assert(
      fc.property(place, place, (one, other) => {
        expect(new Set(names(one)).size).toBe(names(one).length);
        // What belongs to the topic alone is shared by its groups; nothing is shared by two topics.
        if (one.topic === other.topic) return;
        const mine = new Set(names(one));
        expect(names(other).filter((name) => mine.has(name))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });
  it('names of different topics beyond what Kafka takes stay different', () => {
    const long = 'x'.repeat(199);
    const group = 'g'.repeat(64);
    expect(deadTopic(`${long}a`, group)).not.toBe(deadTopic(`${long}b`, group));
    expect(deadTopic(long, group).length).toBeLessThanOrEqual(249);
  });
});

describe('keys', () => {
  const bad: readonly (readonly [string, unknown])[] = [
    ['null', null],
    ['a number', 7],
    ['a Buffer', Buffer.from('a')],
    ['an object', {}],
    ['a lone surrogate', '\udfff'],
    ['a NUL', 'a\0b'],
    ['1,025 bytes', `${'ä'.repeat(512)}a`],
    ['1 MiB', 'x'.repeat(1024 * 1024)],
  ];
  it.each(bad)('%s is refused, from options and from the key function', async (_, key) => {
    const refused = await refusal(1, { key: key as never });
    expect(refused.code).toBe('invalid-message');
    expect(refused.details).toEqual({ field: 'key' });
    expect(refused.message.length).toBeLessThan(200);
    const keyed = defineTopic<unknown>('input.keyed', { key: () => key as never, groups: ['g'] });
    await expect(client().publish(keyed, 1)).rejects.toMatchObject({ code: 'invalid-message', outcome: 'not-sent' });
  });
  it('1,024 bytes are fine', async () => {
    await client().publish(topic, 1, { key: 'ä'.repeat(512) });
  });
  it('"" is a key of its own, and no key is no key', async () => {
    await client().publish(topic, 1, { key: '' });
    expect((await received()).key).toBe('');
  });
  it('no key is refused where a group is ordered', async () => {
    const ordered = defineTopic<unknown>('input.ordered-keys', {
      key: () => undefined as never,
      groups: { g: { order: 'key' } },
    });
    await expect(client().publish(ordered, 1)).rejects.toMatchObject({ code: 'invalid-message', outcome: 'not-sent' });
  });
  it.each(['key', 'dedupeKey', 'priority'] as const)(
    'a %s function that throws has refused the message',
    async (name) => {
      const odd = defineTopic<unknown>(`input.throws.${name}`, {
        groups: ['g'],
        [name]: () => {
          throw new RangeError('no such field');
        },
      });
      await expect(client().publish(odd, 1)).rejects.toMatchObject({
        code: 'invalid-message',
        outcome: 'not-sent',
        message: expect.stringMatching(new RegExp(`${name} function .*no such field`)),
        cause: expect.any(RangeError),
      });
    },
  );
});

describe('ids and dedupe keys', () => {
  const bad: readonly (readonly [string, PublishOptions])[] = [
    ['an empty id', { id: '' }],
    ['an id of 129 characters', { id: 'x'.repeat(129) }],
    ['an id of 10 KB', { id: 'x'.repeat(10_240) }],
    ['an id of more than 255 bytes, which AMQP cannot hold', { id: '€'.repeat(86) }],
    ['an id with a NUL', { id: 'a\0b' }],
    ['an id with a newline', { id: 'a\nb' }],
    ['an id that turns the writing direction', { id: 'a\u202eb' }],
    ['an id with a lone surrogate', { id: 'a\ud800' }],
    ['an id that is a number', { id: 7 as never }],
    ['an id that is null', { id: null as never }],
    ['an empty dedupe key', { dedupeKey: '' }],
    ['a dedupe key that is an object', { dedupeKey: {} as never }],
  ];
  it.each(bad)('%s is refused, without being shown', async (_, options) => {
    const { code, message } = await refusal(1, options);
    expect(code).toBe('invalid-message');
    expect(message).not.toMatch(/xx|€|\u202e/);
  });
  it('what is printable need not be a UUID', async () => {
    for (const id of ['7', 'order 7/ä', '€'.repeat(85)]) {
      expect(await client().publish(topic, 1, { id })).toMatchObject({ id });
    }
  });
});
