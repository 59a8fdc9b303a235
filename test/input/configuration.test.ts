import {
  connect,
  createRelay,
  defineConfig,
  defineTopic,
  exponential,
  fixed,
  memoryDedupe,
  RetryLater,
} from 'holdfast';
import { kafka } from 'holdfast/kafka';
import { memory } from 'holdfast/memory';
import { postgresDedupe, postgresStore } from 'holdfast/postgres';
import { rabbitmq } from 'holdfast/rabbitmq';
import { redis, redisDedupe } from 'holdfast/redis';
import { sqlite, sqliteDedupe, sqliteStore } from 'holdfast/sqlite';
import { describe, expect, it } from 'vitest';
import { type BrokerAdapter, type Capabilities, jsonCodec } from '../../src/index.ts';
import { CANARY } from './canary.ts';

type Bad = readonly (readonly [name: string, options: unknown, says: RegExp])[];

const topic = defineTopic<number>('input.consume', { key: String, groups: { plain: {}, board: { order: 'key' } } });

/** What a call throws, or its promise rejects with. */
async function thrownBy(call: () => unknown): Promise<TypeError & { code?: string; problems?: readonly string[] }> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    return error as TypeError;
  }
  throw new Error('it was accepted');
}

describe('defineTopic refuses', () => {
  const bad: Bad = [
    ['a misspelt option', { partition: 2 }, /did you mean "partitions"/],
    ['0 partitions', { partitions: 0 }, /"partitions"/],
    ['half a partition', { partitions: 1.5 }, /received 1.5/],
    ['partitions as text', { partitions: '5' }, /"partitions" must be a whole number .*received "5"/],
    ['an unknown lane', { priority: 'urgent' }, /"priority"/],
    ['a key that is no function', { key: 'id' }, /"key" must be a function/],
    ['an ordered group without key', { groups: { g: { order: 'key' } } }, /needs a key function/],
    ['an unknown order', { groups: { g: { order: 'fifo' } } }, /"groups.g.order" must be one of 'none', 'key'/],
    ['a misspelt option of a group', { groups: { g: { ordre: 'key' } } }, /did you mean "groups.g.order"/],
    ['a group that is no object', { groups: { g: 'key' } }, /"groups.g" must be an object/],
    ['a group twice', { groups: ['g', 'g'] }, /each group once/],
    ['groups in a Set, which would seem to be none', { groups: new Set(['g']) }, /list of names/],
    ['groups in a Map', { groups: new Map([['g', {}]]) }, /list of names/],
    ['an unknown onExpired', { onExpired: 'ignore' }, /"onExpired"/],
    ['a schema that is none', { schema: { parse: () => 1 } }, /Standard Schema/],
    ['a codec without decode', { codec: { contentType: 'text/plain', encode: () => new Uint8Array() } }, /"codec"/],
    ['a content type with a line break', { codec: { ...jsonCodec, contentType: 'a\r\nb: c' } }, /"codec"/],
    ['a limit of NaN', { maxBytes: Number.NaN }, /"maxBytes"/],
    ['no options', null, /must be an object, received null/],
  ];
  it.each(bad)('%s', async (_, options, says) => {
    const error = await thrownBy(() => defineTopic('t', options as never));
    expect(error.message).toMatch(says);
    expect(error.code).toBe('invalid-option');
  });
  it('all that is wrong at once', async () => {
    const { problems } = await thrownBy(() =>
      defineTopic('a b', { partition: 2, maxBytes: -1, groups: { 'c d': { order: 'fifo' } } } as never),
    );
    expect(problems).toHaveLength(5);
  });
});

describe('connect refuses', () => {
  const bad: Bad = [
    ['no adapter', {}, /"adapter" is missing, for example rabbitmq/],
    ['a misspelt option', { adapter: memory(), sorce: 'x' }, /did you mean "source"/],
    ['an adapter that is none', { adapter: {} }, /must be an adapter such as/],
    ['a negative breaker', { adapter: memory(), breaker: { resetMs: -1 } }, /"breaker.resetMs"/],
    ['a timer above what Node keeps', { adapter: memory(), breaker: { resetMs: 2 ** 31 } }, /to 2147483647/],
    ['an infinite timer', { adapter: memory(), breaker: { windowMs: Number.POSITIVE_INFINITY } }, /received Infinity/],
    ['a buffer of 0', { adapter: memory(), buffer: { messages: 0 } }, /"buffer.messages"/],
    ['a misspelt option within', { adapter: memory(), buffer: { byts: 1 } }, /did you mean "buffer.bytes"/],
    ['a source with a line break', { adapter: memory(), source: 'a\nb' }, /"source" .*received "a\\nb"/],
    ['a number', 7, /must be an object, received 7/],
  ];
  it.each(bad)('%s', async (_, options, says) => {
    expect((await thrownBy(() => connect(options as never))).message).toMatch(says);
  });
  it('all that is wrong at once', async () => {
    const wrong = { sorce: 'x', declare: 'maybe', buffer: { messages: 0, bytes: '5' }, breaker: { minCalls: 0 } };
    const { problems } = await thrownBy(() => connect(wrong as never));
    expect(problems).toHaveLength(6);
  });
  it('an unknown scheme, with the nearest and without its password', async () => {
    await expect(connect(`ampq://user:${CANARY}@host`)).rejects.toMatchObject({
      code: 'invalid-option',
      message: expect.stringMatching(/^(?!.*canary).*did you mean "amqp:"/),
    });
  });
  it('a URL where an adapter belongs, without its password', async () => {
    const { message } = await thrownBy(() => connect({ adapter: `amqp://user:${CANARY}@host` } as never));
    expect(message).toMatch(/^(?!.*canary).*"adapter" must be an adapter/);
  });
});

describe('consume refuses', () => {
  const bad: Bad = [
    ['no group', {}, /"group" is missing/],
    ['a misspelt option', { group: 'plain', concurency: 2 }, /did you mean "concurrency"/],
    ['concurrency 0', { group: 'plain', concurrency: 0 }, /"concurrency"/],
    ['concurrency as text', { group: 'plain', concurrency: '5' }, /received "5"/],
    ['prefetch 0', { group: 'plain', prefetch: 0 }, /"prefetch"/],
    ['a NaN timeout', { group: 'plain', timeoutMs: Number.NaN }, /"timeoutMs"/],
    ['an infinite timeout', { group: 'plain', timeoutMs: Number.POSITIVE_INFINITY }, /"timeoutMs"/],
    ['a timeout that Node would fire at once', { group: 'plain', timeoutMs: 2 ** 31 }, /up to 2147483647/],
    ['a lease too short to be renewed', { group: 'plain', leaseMs: 100 }, /at least 300/],
    ['negative delays', { group: 'plain', retry: { delays: [-1] } }, /"retry.delays"/],
    ['delays above what timers keep', { group: 'plain', retry: { delays: [2 ** 31] } }, /"retry.delays"/],
    ['negative retries', { group: 'plain', retry: { immediate: { retries: -1 } } }, /"retry.immediate.retries"/],
    ['an inbox that is none', { group: 'plain', inbox: {} }, /inbox of a store/],
    ['a dedupe store that is none', { group: 'plain', dedupe: {} }, /dedupe store/],
    ['an invalid date', { group: 'plain', from: new Date(Number.NaN) }, /"from"/],
    ['a weight of 0', { group: 'plain', laneWeights: { low: 0 } }, /"laneWeights.low"/],
    ['a rate of 0', { group: 'plain', ratePerSecond: 0 }, /"ratePerSecond"/],
    ['a rate whose pauses no timer keeps', { group: 'plain', ratePerSecond: 1e-9 }, /"ratePerSecond"/],
    ['a breaker that is none', { group: 'plain', breaker: true }, /"breaker" must be an object, received true/],
  ];
  it.each(bad)('%s', async (_, options, says) => {
    await using client = await connect({ adapter: memory() });
    const { message } = await thrownBy(() => client.consume(topic, options as never, () => undefined));
    expect(message).toMatch(says);
  });
  it('all that is wrong at once', async () => {
    await using client = await connect({ adapter: memory() });
    const wrong = {
      prefetch: 0,
      timeoutMs: -1,
      retry: { delays: 5, immediate: { retires: 1 } },
      breaker: { minCalls: 0 },
    };
    const { problems } = await thrownBy(() => client.consume(topic, wrong as never, () => undefined));
    expect(problems).toHaveLength(6);
  });
  it('batches without a size', async () => {
    await using client = await connect({ adapter: memory() });
    const wrong = { group: 'plain', batch: { waitMs: -1 } };
    const { problems } = await thrownBy(() => client.consumeBatches(topic, wrong as never, () => undefined));
    expect(problems).toHaveLength(2);
  });
  it('S1: an order that disagrees with the topic is a group-mismatch', async () => {
    await using client = await connect({ adapter: memory() });
    for (const options of [
      { group: 'plain', order: 'key' },
      { group: 'board', order: 'none' },
      { group: 'new', order: 'key' },
    ] as const) {
      await expect(client.consume(topic, options, () => undefined)).rejects.toMatchObject({ code: 'group-mismatch' });
    }
  });
  it('S5: a Date where the broker keeps no history', async () => {
    await using client = await connect({ adapter: memory() });
    await expect(client.consume(topic, { group: 'plain', from: new Date() }, () => undefined)).rejects.toMatchObject({
      code: 'unsupported',
    });
  });
  it('S1: an undeclared group is added, unordered, with a warning', async () => {
    await using client = await connect({ adapter: memory() });
    const warnings: string[] = [];
    client.on('warning', ({ code }) => warnings.push(code));
    await client.consume(topic, { group: 'late' }, () => undefined);
    expect(warnings).toEqual(['undeclared-group']);
  });
  it('dead letters and backlog of an unknown group', async () => {
    await using client = await connect({ adapter: memory() });
    expect(() => client.deadLetters(topic, 'nobody')).toThrow(expect.objectContaining({ code: 'group-mismatch' }));
    await expect(client.backlog(topic, 'nobody')).rejects.toMatchObject({ code: 'group-mismatch' });
  });
  it('to discard without a filter, or by a misspelt one', async () => {
    await using client = await connect({ adapter: memory() });
    await expect(client.deadLetters(topic, 'plain').discard({})).rejects.toThrow(/needs a filter/);
    await expect(client.deadLetters(topic, 'plain').replay({ were: {} } as never)).rejects.toThrow(
      /did you mean "where"/,
    );
  });
});

it('a lease may be shorter than the handler: it is renewed, and the handler goes on', async () => {
  await using client = await connect({ adapter: memory() });
  await client.consume(topic, { group: 'plain', leaseMs: 300, timeoutMs: 60_000 }, () => undefined);
});

it('delays, dedupe, relays and RetryLater check their numbers', async () => {
  expect(() => fixed({ delayMs: -1, times: 1 })).toThrow(/"delayMs"/);
  expect(() => exponential({ firstMs: 1, factor: 0, maxMs: 1, times: 1 })).toThrow(/"factor"/);
  expect(() => exponential({ firstMs: 1, factor: 2, maxMs: 1, times: 1, jitter: 2 })).toThrow(/"jitter"/);
  expect(() => memoryDedupe({ windowMs: 0 })).toThrow(/"windowMs"/);
  for (const delayMs of [Number.NaN, -1, Number.POSITIVE_INFINITY, '5' as never]) {
    expect(() => new RetryLater(delayMs)).toThrow(TypeError);
  }
  expect((await thrownBy(() => createRelay({ batchSize: 0, leaseMs: 1 } as never))).message).toMatch(
    /"batchSize".*"leaseMs"/,
  );
});

describe('defineConfig', () => {
  const known = defineTopic('input.config');
  const bad: Bad = [
    ['a misspelt option', { topics: [known], enviroments: {} }, /did you mean "environments"/],
    ['topics that are none', { topics: [{}], environments: {} }, /"topics"/],
    ['a topic twice', { topics: [known, known], environments: {} }, /there twice/],
    [
      'a misspelt option within',
      { topics: [known], environments: { production: { adaptor: 'x' } } },
      /did you mean "adapter"/,
    ],
    ['no adapter', { topics: [known], environments: { production: {} } }, /"adapter" is missing/],
    [
      'what connect would refuse',
      { topics: [known], environments: { p: { adapter: 'memory:', buffer: { bytes: 0 } } } },
      /"buffer.bytes"/,
    ],
  ];
  it.each(bad)('refuses %s', async (_, config, says) => {
    expect((await thrownBy(() => defineConfig(config as never))).message).toMatch(says);
  });
  it('names what is wrong in all environments at once', async () => {
    const environments = { a: {}, b: { adapter: 7 }, c: { adapter: 'memory:', sorce: 'x' } };
    const { problems } = await thrownBy(() => defineConfig({ topics: [known, known], environments } as never));
    expect(problems).toHaveLength(4);
  });
  it.each(['prodution', '', 'PRODUCTION', '__proto__', 'constructor'])(
    'takes HOLDFAST_ENV to the letter: "%s" is no environment',
    async (name) => {
      const config = defineConfig({ topics: [known], environments: { production: { adapter: 'memory:' } } });
      const before = process.env.HOLDFAST_ENV;
      try {
        process.env.HOLDFAST_ENV = name;
        await expect(connect(config)).rejects.toMatchObject({
          code: 'config-invalid',
          message: expect.stringContaining('it has "production"'),
        });
        process.env.HOLDFAST_ENV = 'production';
        await (await connect(config)).close();
      } finally {
        if (before === undefined) delete process.env.HOLDFAST_ENV;
        else process.env.HOLDFAST_ENV = before;
      }
    },
  );
});

describe('what the adapter lacks is refused, not weakened', () => {
  function lacking(what: Partial<Capabilities>): BrokerAdapter {
    const inner = memory();
    return { ...inner, name: 'modest', capabilities: { ...inner.capabilities, ...what } };
  }
  it('an ordered group where there is no order', async () => {
    await using client = await connect({ adapter: lacking({ order: 'none' }) });
    const ordered = defineTopic<number>('capability.order', { key: String, groups: { g: { order: 'key' } } });
    const refusal = { code: 'unsupported', message: expect.stringMatching(/needs order by key.*"g".*modest/) };
    await expect(client.publish(ordered, 1)).rejects.toMatchObject({ ...refusal, outcome: 'not-sent' });
    await expect(client.consume(ordered, { group: 'g' }, () => undefined)).rejects.toMatchObject(refusal);
  });
  it('lanes where there are none', async () => {
    await using client = await connect({ adapter: lacking({ priority: 'none' }) });
    const lanes = defineTopic<number>('capability.lanes', { priority: 'high', groups: ['g'] });
    await expect(client.publish(lanes, 1)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('priority lanes'),
    });
  });
  it('a delay where nothing can be delayed', async () => {
    await using client = await connect({ adapter: lacking({ delayedPublish: 'none' }) });
    const delayed = defineTopic<number>('capability.delay', { groups: ['g'] });
    await expect(client.publish(delayed, 1, { delayMs: 5 })).rejects.toMatchObject({
      code: 'unsupported',
      outcome: 'not-sent',
    });
    await client.publish(delayed, 1);
  });
});

describe('adapters and stores', () => {
  const pool = { connect: () => undefined, query: () => undefined };
  const makers: readonly (readonly [string, (options: never) => unknown, object, object, number])[] = [
    ['rabbitmq', rabbitmq, { url: 'amqp://h' }, { heartbeatSeconds: '5', connectTimeoutMs: Number.NaN, tls: 7 }, 3],
    [
      'redis',
      redis,
      { url: 'redis://h' },
      { db: -1, commandTimeoutMs: Number.POSITIVE_INFINITY, prefix: '{', tls: 7 },
      4,
    ],
    ['kafka', kafka, { brokers: 'h:9092' }, { requestTimeoutMs: '5', replication: 0, ssl: 'yes', sasl: {} }, 4],
    ['sqlite', sqlite, { path: 'x' }, { path: '', pollMs: 0, busyTimeoutMs: 2 ** 31 }, 3],
    ['sqliteStore', sqliteStore, { path: 'x' }, { path: 'a\0b', source: 'a\nb', busyTimeoutMs: -1 }, 3],
    ['sqliteDedupe', sqliteDedupe, { path: 'x' }, { path: 7, windowMs: 0.5, claimMs: '5' }, 3],
    ['postgresStore', postgresStore, { pool }, { pool: 7, source: '', schema: 'A', prefix: 'b-', notify: 1 }, 5],
    ['postgresDedupe', postgresDedupe, { pool }, { schema: '', windowMs: Number.NaN, claimMs: -1 }, 3],
    ['redisDedupe', redisDedupe, { url: 'redis://h' }, { prefix: '', windowMs: 0, claimMs: '5' }, 3],
  ];
  it.each(makers)(
    '%s names every wrong option at once, a misspelt one with the nearest',
    async (_, make, good, bad, most) => {
      const error = await thrownBy(() => make({ ...good, ...bad } as never));
      expect(error.problems).toHaveLength(most);
      expect(error.code).toBe('invalid-option');
      for (const name of Object.keys(bad)) expect(error.message).toContain(name);
      const [name] = Object.keys(good) as [string];
      expect((await thrownBy(() => make({ ...good, [`${name}s`]: 1, zzz: 2 } as never))).message).toMatch(
        new RegExp(`did you mean ["\`]${name}["\`].*zzz`),
      );
    },
  );
  it.each(makers)('%s shows no password, whatever it is given', async (_, make, good) => {
    const url = `postgres://user:${CANARY}@host/db`;
    for (const options of [
      url,
      [url],
      ...Object.keys(good).map((name) => ({ [name]: url })),
      { ...good, source: url, schema: url, prefix: url, tls: url, ssl: url, sasl: url, [url]: url },
    ]) {
      const { message } = await thrownBy(() => make(options as never));
      expect(message.includes(CANARY), 'the password is in the message').toBe(false);
    }
  });
  it('refuses a URL whose escapes are none, without showing it', async () => {
    for (const make of [
      () => rabbitmq({ url: `amqp://u:%zz${CANARY}@h` }),
      () => redis({ url: `redis://u:%zz${CANARY}@h` }),
    ]) {
      const { message } = await thrownBy(make);
      expect(message).toMatch(/^(?!.*canary).*%25/);
    }
  });
});
