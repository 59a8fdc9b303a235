import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe } from 'vitest';
import * as kafka from '../../adapters/kafka/headers.ts';
import * as memory from '../../adapters/memory/headers.ts';
import * as rabbitmq from '../../adapters/rabbitmq/headers.ts';
import * as redis from '../../adapters/redis/headers.ts';
import * as sqlite from '../../adapters/sqlite/headers.ts';
import { MESSAGE_COLUMNS } from '../../adapters/sqlite/headers.ts';
import { identityOf } from '../../src/message.ts';
import type { Incoming, Outgoing } from '../../src/port.ts';
import { isPrintable } from '../../src/printable.ts';
import { ensure, fieldName, fuzz, headers, text } from './fuzz.ts';

/** What an adapter may hand to the core, whoever sent it. */
function assertIncoming(message: Incoming): void {
  for (const value of [message.id, message.source, message.contentType, message.key, message.dedupeKey]) {
    ensure(value === undefined || typeof value === 'string', 'an attribute is text');
  }
  for (const value of [message.publishedAt, message.expiresAt]) {
    ensure(value === undefined || Number.isFinite(value), 'a time is a number');
  }
  ensure(message.body instanceof Uint8Array, 'the body is bytes');
  for (const map of [message.headers, message.marks]) {
    const prototype: unknown = Object.getPrototypeOf(map);
    ensure(prototype === Object.prototype || prototype === null, 'a map is plain');
    for (const value of Object.values(map)) ensure(typeof value === 'string', 'a header is text');
  }
  for (const name of Object.keys(message.headers)) ensure(!/^(hf-|x-)/.test(name), 'no header is ours');
  identityOf(message);
  for (const _ in Object.prototype) ensure(false, 'prototypes are clean');
}

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter(isPrintable);
const bytes = fc.uint8Array({ maxLength: 24 });
const instant = fc.integer({ min: 0, max: 4_102_444_800_000 });
const outgoing: fc.Arbitrary<Outgoing> = fc.record({
  topology: fc.constant({ topic: 't', groups: [], partitions: 1, lanes: false }),
  id: name,
  source: name,
  body: bytes,
  contentType: fc.constantFrom('application/json', 'application/octet-stream', 'text/x'),
  key: fc.option(
    fc.string({ unit: 'grapheme', maxLength: 12 }).filter((value) => value.isWellFormed()),
    { nil: undefined },
  ),
  partition: fc.constant(undefined),
  lane: fc.constant('normal' as const),
  dedupeKey: fc.option(name, { nil: undefined }),
  headers,
  publishedAt: instant,
  expiresAt: fc.option(instant, { nil: undefined }),
  delayMs: fc.constant(0),
});

function assertSame(message: Outgoing, read: Incoming): void {
  ensure(Buffer.compare(read.body, message.body) === 0, 'the bytes are the same');
  for (const name of ['id', 'source', 'contentType', 'key', 'dedupeKey', 'expiresAt'] as const) {
    ensure(read[name] === message[name], `${name} is the same`);
  }
  ensure(isDeepStrictEqual({ ...read.headers }, { ...message.headers }), 'the headers are the same');
  ensure(Object.keys(read.marks).length === 0, 'there are no marks');
  ensure(Math.abs((read.publishedAt ?? 0) - message.publishedAt) < 1_000, 'the time is the same');
}

describe('rabbitmq', () => {
  // Whatever AMQP's table may hold, as amqplib hands it over.
  const field = fc.oneof(
    text,
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    bytes.map((value) => Buffer.from(value)),
    fc.array(fc.oneof(text, fc.integer()), { maxLength: 3 }),
    fc.record({ '!': fc.constantFrom('timestamp', 'decimal', 'x'), value: fc.oneof(fc.integer(), text) }),
    fc.dictionary(fieldName, text, { maxKeys: 3 }),
  );
  const own = fc.option(fc.oneof(text, fc.integer(), fc.double(), fc.constant(undefined)), { nil: undefined });
  const properties = fc.record({
    headers: fc.option(fc.dictionary(fieldName, field, { maxKeys: 6, noNullPrototype: false }), { nil: undefined }),
    messageId: own,
    appId: own,
    contentType: own,
    timestamp: own,
    type: own,
    priority: own,
    expiration: own,
    deliveryMode: own,
  });
  fuzz(
    'reads whatever AMQP can carry, and what it makes of it can be copied',
    12,
    fc.tuple(properties, bytes),
    ([given, body]) => {
      const message = rabbitmq.toIncoming(given as never, body);
      assertIncoming(message);
      const copy = rabbitmq.toCopy(given as never, message.marks);
      assertIncoming(rabbitmq.toIncoming(copy as never, body));
      rabbitmq.fromLetter(rabbitmq.toLetter(given as never, { reason: 'r' }, { lane: 'low', shard: 3 }) as never);
      rabbitmq.fromLetter(given as never);
      ensure(Number.isFinite(rabbitmq.waitLeftMs(given as never)), 'a wait is a number');
    },
  );
  fuzz('gives back what it was given, as a CloudEvent too', 5, outgoing, (message) => {
    assertSame(message, rabbitmq.toIncoming(rabbitmq.toProperties(message) as never, message.body));
    assertSame(message, rabbitmq.toIncoming(rabbitmq.toCloudEvent(message) as never, message.body));
  });
});

describe('kafka', () => {
  const record = fc
    .record({
      offset: fc.nat(),
      timestamp: fc.option(instant, { nil: undefined }),
      key: fc.option(bytes.map((value) => Buffer.from(value))),
      value: fc.option(bytes.map((value) => Buffer.from(value))),
      entries: fc.array(
        fc.tuple(
          fieldName,
          fc.oneof(
            bytes,
            text.map((value) => Buffer.from(value)),
          ),
        ),
        { maxLength: 6 },
      ),
    })
    .map(({ entries, ...rest }) => {
      const map: Record<string, Buffer> = Object.create(null);
      for (const [field, value] of entries) map[field] = Buffer.from(value);
      return { ...rest, headers: map };
    });
  /** As it would come back from the broker. */
  const stored = (made: {
    key: unknown;
    value: unknown;
    headers: Readonly<Record<string, string | Uint8Array>>;
    timestamp?: number;
  }): never => {
    const map: Record<string, Buffer> = Object.create(null);
    for (const field in made.headers) map[field] = Buffer.from(made.headers[field]! as string);
    const key = typeof made.key === 'string' ? Buffer.from(made.key) : made.key;
    return { offset: 0, timestamp: made.timestamp, key, value: made.value, headers: map } as never;
  };
  fuzz('reads whatever a record can carry, and what it makes of it can be copied', 10, record, (given) => {
    assertIncoming(kafka.fromRecord(given));
    const origin = kafka.originOf(given);
    ensure(['high', 'normal', 'low'].includes(origin.lane), 'a lane is one');
    ensure(Number.isFinite(origin.partition) && Number.isFinite(origin.waitMs), 'a place is numbers');
    const copy = kafka.copyOf(given, { origin, marks: { attempts: '1' }, waitMs: 5, letterId: 'l' });
    const read = kafka.fromRecord(stored(copy));
    assertIncoming(read);
    ensure(read.marks.attempts === '1', 'marks are what they were');
    assertIncoming(kafka.fromRecord(stored(kafka.undelayed(stored(copy)))));
    ensure(kafka.sizeOf(copy) > 0, 'a size is one');
  });
  fuzz('gives back what it was given, as a CloudEvent too', 5, outgoing, (message) => {
    const made = kafka.toRecord(message);
    assertSame(message, kafka.fromRecord(stored(made)));
    assertSame(message, kafka.fromRecord(stored(kafka.toCloudEvent(message))));
    assertSame(message, kafka.fromRecord(stored(kafka.undelayed(stored(kafka.delayed(made, 0, 'normal', 5))))));
  });
});

describe('redis', () => {
  const field = fc.tuple(
    fieldName.map((value) => Buffer.from(value)),
    fc.oneof(
      bytes.map((value) => Buffer.from(value)),
      text.map((value) => Buffer.from(value)),
    ),
  );
  const fields = fc.array(field, { maxLength: 7 }).map((pairs) => pairs.flat());
  fuzz(
    'reads whatever an entry can carry, of an odd number of fields too',
    11,
    fc.tuple(fields, fc.boolean()),
    ([given, odd]) => {
      assertIncoming(redis.fromFields(odd ? given.slice(1) : given));
    },
  );
  fuzz('gives back what it was given, as a CloudEvent too', 5, outgoing, (message) => {
    assertSame(message, redis.fromFields(redis.toFields(message).map((value) => Buffer.from(value as string))));
    assertSame(message, redis.fromFields(redis.toCloudEvent(message).map((value) => Buffer.from(value as string))));
  });
});

describe('sqlite and memory', () => {
  const columns = MESSAGE_COLUMNS.split(', ');
  fuzz('give back what they were given', 4, outgoing, (message) => {
    const row = Object.fromEntries(sqlite.toRow(message).map((value, index) => [columns[index], value]));
    assertSame(message, sqlite.fromRow(row as never));
    assertSame(message, memory.fromStored(memory.toStored(message)));
  });
});
