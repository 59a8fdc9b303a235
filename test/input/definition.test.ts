import { connect, defineConfig, defineTopic, exponential, fixed, memoryDedupe, RetryLater } from 'holdfast';
import { memory } from 'holdfast/memory';
import { describe, expect, it } from 'vitest';

describe('topic and group names', () => {
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
    'a\0',
    'a\n',
    'a#',
    'a*',
    '$a',
    'amq.direct',
    '__consumer_offsets',
    'holdfast.x',
    'x'.repeat(201),
  ];
  for (const name of bad) {
    it(`${JSON.stringify(name.slice(0, 24))} is no topic name`, () =>
      expect(() => defineTopic(name)).toThrow(TypeError));
    if (name.length < 100)
      it(`${JSON.stringify(name)} is no group name`, () =>
        expect(() => defineTopic('t', { groups: [name] })).toThrow(TypeError));
  }
  it('200 characters of the grammar are fine', () =>
    expect(defineTopic(`A.b_c-9${'x'.repeat(193)}`).name).toHaveLength(200));
});

describe('defineTopic', () => {
  const bad: readonly (readonly [string, unknown, RegExp])[] = [
    ['a misspelt option', { partition: 2 }, /did you mean "partitions"/],
    ['0 partitions', { partitions: 0 }, /"partitions"/],
    ['half a partition', { partitions: 1.5 }, /received 1.5/],
    ['an unknown lane', { priority: 'urgent' }, /"priority"/],
    ['a key that is no function', { key: 'id' }, /"key" must be a function/],
    ['an ordered group without key', { groups: { g: { order: 'key' } } }, /needs a key function/],
    ['an unknown order', { groups: { g: { order: 'fifo' } } }, /'none', 'key'/],
    ['an unknown onExpired', { onExpired: 'ignore' }, /"onExpired"/],
  ];
  for (const [name, options, says] of bad) {
    it(`${name} is a TypeError that says so`, () => {
      expect(() => defineTopic('t', options as never)).toThrow(TypeError);
      expect(() => defineTopic('t', options as never)).toThrow(says);
    });
  }
});

describe('connect', () => {
  it('names what is missing, misspelt or of the wrong type', async () => {
    await expect(connect({} as never)).rejects.toThrow(/"adapter" is missing/);
    await expect(connect({ adapter: memory(), sorce: 'x' } as never)).rejects.toThrow(/did you mean "source"/);
    await expect(connect({ adapter: {} as never })).rejects.toThrow(/must be an adapter such as/);
    await expect(connect({ adapter: memory(), breaker: { resetMs: -1 } })).rejects.toThrow(/"breaker.resetMs"/);
    await expect(connect({ adapter: memory(), buffer: { messages: 0 } })).rejects.toThrow(/"buffer.messages"/);
    await expect(connect(7 as never)).rejects.toThrow(TypeError);
  });
  it('an unknown scheme is named with the known ones, its password is not', async () => {
    await expect(connect('ampq://user:canary-secret@host')).rejects.toMatchObject({
      code: 'invalid-option',
      message: expect.stringMatching(/^(?!.*canary).*did you mean "amqp:"/),
    });
  });
});

describe('consume', () => {
  const topic = defineTopic<number>('input.consume', { key: String, groups: { plain: {}, board: { order: 'key' } } });
  const bad: readonly (readonly [string, unknown, RegExp])[] = [
    ['no group', {}, /"group" is missing/],
    ['a misspelt option', { group: 'plain', concurency: 2 }, /did you mean "concurrency"/],
    ['concurrency 0', { group: 'plain', concurrency: 0 }, /"concurrency"/],
    ['prefetch 0', { group: 'plain', prefetch: 0 }, /"prefetch"/],
    ['a NaN timeout', { group: 'plain', timeoutMs: Number.NaN }, /"timeoutMs"/],
    ['negative delays', { group: 'plain', retry: { delays: [-1] } }, /"retry.delays"/],
    ['negative retries', { group: 'plain', retry: { immediate: { retries: -1 } } }, /"retry.immediate.retries"/],
    ['an inbox that is none', { group: 'plain', inbox: {} }, /inbox of a store/],
    ['an invalid date', { group: 'plain', from: new Date(Number.NaN) }, /"from"/],
    ['a weight of 0', { group: 'plain', laneWeights: { low: 0 } }, /"laneWeights.low"/],
  ];
  for (const [name, options, says] of bad) {
    it(`${name} is a TypeError that says so`, async () => {
      await using client = await connect({ adapter: memory() });
      await expect(client.consume(topic, options as never, () => undefined)).rejects.toThrow(says);
      await expect(client.consume(topic, options as never, () => undefined)).rejects.toBeInstanceOf(TypeError);
    });
  }
  it('S1: an order that disagrees with the topic is a group-mismatch', async () => {
    await using client = await connect({ adapter: memory() });
    await expect(client.consume(topic, { group: 'plain', order: 'key' }, () => undefined)).rejects.toMatchObject({
      code: 'group-mismatch',
    });
    await expect(client.consume(topic, { group: 'board', order: 'none' }, () => undefined)).rejects.toMatchObject({
      code: 'group-mismatch',
    });
    await expect(client.consume(topic, { group: 'new', order: 'key' }, () => undefined)).rejects.toMatchObject({
      code: 'group-mismatch',
    });
  });
  it('S5: a Date is refused where the broker keeps no history', async () => {
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
  it('dead letters and backlog of an unknown group are a group-mismatch', async () => {
    await using client = await connect({ adapter: memory() });
    expect(() => client.deadLetters(topic, 'nobody')).toThrow(expect.objectContaining({ code: 'group-mismatch' }));
    await expect(client.backlog(topic, 'nobody')).rejects.toMatchObject({ code: 'group-mismatch' });
  });
  it('discard needs a filter', async () => {
    await using client = await connect({ adapter: memory() });
    await expect(client.deadLetters(topic, 'plain').discard({})).rejects.toThrow(/needs a filter/);
    await expect(client.deadLetters(topic, 'plain').replay({ were: {} } as never)).rejects.toThrow(
      /did you mean "where"/,
    );
  });
});

it('delays, dedupe and RetryLater check their numbers', () => {
  expect(() => fixed({ delayMs: -1, times: 1 })).toThrow(/"delayMs"/);
  expect(() => exponential({ firstMs: 1, factor: 0, maxMs: 1, times: 1 })).toThrow(/"factor"/);
  expect(() => exponential({ firstMs: 1, factor: 2, maxMs: 1, times: 1, jitter: 2 })).toThrow(/"jitter"/);
  expect(() => memoryDedupe({ windowMs: 0 })).toThrow(/"windowMs"/);
  expect(() => new RetryLater(Number.NaN)).toThrow(/received NaN/);
});

describe('defineConfig', () => {
  const topic = defineTopic('input.config');
  it('names every wrong option', () => {
    expect(() => defineConfig({ topics: [topic], enviroments: {} } as never)).toThrow(/did you mean "environments"/);
    expect(() => defineConfig({ topics: [{}], environments: {} } as never)).toThrow(/"topics"/);
    expect(() => defineConfig({ topics: [topic, topic], environments: {} })).toThrow(/there twice/);
    expect(() => defineConfig({ topics: [topic], environments: { production: { adaptor: 'x' } as never } })).toThrow(
      /did you mean "adapter"/,
    );
    expect(() => defineConfig({ topics: [topic], environments: { production: {} as never } })).toThrow(
      /"adapter" is missing/,
    );
  });
  it('an environment that is not there is named, with a hint', async () => {
    const config = defineConfig({ topics: [topic], environments: { production: { adapter: 'memory:' } } });
    const before = { ...process.env };
    try {
      process.env.HOLDFAST_ENV = 'prodution';
      await expect(connect(config)).rejects.toMatchObject({
        code: 'config-invalid',
        message: expect.stringMatching(/did you mean "production"/),
      });
      process.env.HOLDFAST_ENV = 'production';
      await (await connect(config)).close();
    } finally {
      process.env = before;
    }
  });
});
