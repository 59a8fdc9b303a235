import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import {
  closeAll,
  consume,
  message,
  open,
  operator,
  publish,
  rabbitmqUrl,
  texts,
  topologyOf,
  until,
} from './rabbitmq-fixture.ts';

afterEach(closeAll);

describe('rabbitmq: publishing and consuming', () => {
  it('confirms a message and delivers it with all its attributes', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const sent = message(topology, {
      body: randomBytes(5_000),
      contentType: 'application/x-mine',
      key: 'schlüssel-鍵',
      partition: 0,
      dedupeKey: 'once',
      headers: { übergröße: 'größer 🐘', empty: '', CC: 'copy', BCC: 'blind' },
      publishedAt: 1_700_000_000_000,
      expiresAt: 1_900_000_000_123,
    });
    expect(await publish(adapter, [sent])).toEqual([{ kind: 'confirmed' }]);
    const consumer = await consume(adapter, topology, 'billing');
    const [delivery] = await until(() => consumer.received.length > 0 && consumer.received);
    expect(delivery!.message).toEqual({
      id: sent.id,
      source: 'test',
      body: sent.body,
      contentType: 'application/x-mine',
      key: 'schlüssel-鍵',
      dedupeKey: 'once',
      headers: sent.headers,
      marks: {},
      publishedAt: 1_700_000_000_000,
      expiresAt: 1_900_000_000_123,
    });
    expect(delivery).toMatchObject({ lane: 'normal', shard: 0, redelivered: false, suspect: false });
  });

  it('keeps empty and large bodies byte for byte', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const bodies = [new Uint8Array(0), new Uint8Array(randomBytes(300_000)).subarray(7), randomBytes(2_048)];
    const outcomes = await publish(
      adapter,
      bodies.map((body) => message(topology, { body })),
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual(['confirmed', 'confirmed', 'confirmed']);
    const consumer = await consume(adapter, topology, 'billing');
    await until(() => consumer.received.length === 3);
    for (const [index, body] of bodies.entries()) {
      expect(Buffer.compare(consumer.received[index]!.message.body, body)).toBe(0);
    }
  });

  it('stores no more than one queue and one exchange for an unordered topic without lanes', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    await publish(adapter, texts(topology, ['a']));
    const { topic } = topology;
    for (const name of ['::partitions', ':billing:dead', ':billing:retry:1000', '::delay:1000']) {
      const { channel } = await operator();
      await expect(channel.checkQueue(topic + name)).rejects.toThrow('NOT_FOUND');
    }
    for (const name of ['::shards', ':billing', '::delay', ':billing:retry']) {
      const { channel } = await operator();
      await expect(channel.checkExchange(topic + name)).rejects.toThrow('NOT_FOUND');
    }
  });

  it('S7: answers unroutable for a topic without a group, and for one whose queues are gone', async () => {
    const { adapter } = await open();
    const topology = topologyOf({});
    await adapter.declare(topology);
    expect(await publish(adapter, texts(topology, ['a', 'b']))).toEqual([
      { kind: 'unroutable' },
      { kind: 'unroutable' },
    ]);

    const grouped = topologyOf({ billing: 'unordered' });
    await adapter.declare(grouped);
    const { channel } = await operator();
    await channel.deleteQueue(`${grouped.topic}:billing`);
    const twins = texts(grouped, ['x', 'y'], { id: 'same-id-twice-in-flight' });
    expect(await publish(adapter, twins)).toEqual([{ kind: 'unroutable' }, { kind: 'unroutable' }]);
  });

  it('tells a routable from an unroutable message of the same id in one batch', async () => {
    const { adapter } = await open();
    const deaf = topologyOf({});
    const heard = topologyOf({ billing: 'unordered' });
    await adapter.declare(deaf);
    await adapter.declare(heard);
    const id = randomUUID();
    const batch = [message(heard, { id }), message(deaf, { id }), message(heard, { id })];
    expect((await publish(adapter, batch)).map(({ kind }) => kind)).toEqual(['confirmed', 'unroutable', 'confirmed']);
  });

  it('delivers to each group, also to one that the publisher does not know', async () => {
    const { adapter } = await open();
    const { adapter: other } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    const wider = { ...topology, groups: [{ name: 'board', ordered: true }], partitions: 3 };
    await adapter.declare(topology);
    await other.declare(wider);
    await publish(adapter, [...texts(topology, ['a'], { key: 'k', partition: 2 }), ...texts(topology, ['b'])]);
    const billing = await consume(adapter, topology, 'billing');
    const board = await consume(other, wider, 'board');
    await until(() => billing.received.length === 2 && board.received.length === 2);
    expect(billing.texts()).toEqual(['a', 'b']);
    // Without a key it is of the first shard.
    expect(board.received.map(({ shard }) => shard).sort()).toEqual([0, 2]);
  });

  it('settles in any order, and gives the rest to the next consumer when it stops', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const bodies = Array.from({ length: 20 }, (_, index) => String(index));
    await publish(adapter, texts(topology, bodies));
    const consumer = await consume(adapter, topology, 'billing');
    await until(() => consumer.received.length === 20);
    const pick = (...indexes: readonly number[]) => indexes.map((index) => consumer.received[index]!);
    await consumer.settle('done', pick(3, 1, 0, 17));
    await consumer.settle('done', pick(5, 2, 4, 19));
    await consumer.source.stop();
    await consumer.source.stop();
    expect(await consumer.settle('done', pick(6))).toEqual(['stale']);
    const next = await consume(adapter, topology, 'billing');
    const left = bodies.filter((body) => ![0, 1, 2, 3, 4, 5, 17, 19].includes(Number(body)));
    await until(() => next.received.length === left.length);
    expect(next.texts()).toEqual(left);
  });

  it.each(['unordered', 'ordered'] as const)(
    'loses no acknowledgement when it stops right after many (%s)',
    async (kind) => {
      const { adapter } = await open();
      const topology = topologyOf({ one: kind });
      await adapter.declare(topology);
      const consumer = await consume(adapter, topology, 'one', { prefetch: 100 });
      await publish(adapter, texts(topology, Array(100).fill('a')));
      await until(() => consumer.received.length === 100);
      if (kind === 'unordered') consumer.source.pause();
      // The first stays unsettled, so that no run begins: each of the others is acknowledged alone.
      await consumer.settle('done', consumer.received.slice(1));
      await consumer.source.stop();
      const next = await consume(adapter, topology, 'one', { prefetch: 200 });
      await publish(adapter, texts(topology, ['last']));
      await until(() => next.texts().includes('last'));
      expect(next.texts()).toEqual(['a', 'last']);
    },
  );

  it('never has more unsettled than the prefetch, also after a pause', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    await publish(
      adapter,
      texts(
        topology,
        Array.from({ length: 30 }, (_, index) => String(index)),
      ),
    );
    const consumer = await consume(adapter, topology, 'billing', { prefetch: 5 });
    await until(() => consumer.received.length === 5);
    consumer.source.pause();
    consumer.source.resume();
    await consumer.settle('done', consumer.received.slice(0, 1));
    await until(() => consumer.received.length === 6);
    // One round trip later nothing more has come.
    expect((await adapter.backlog(topology, 'billing')).ready).toBeGreaterThan(0);
    expect(consumer.received).toHaveLength(6);
    while (consumer.received.length < 30) {
      const before = consumer.received.length;
      await consumer.settle('done', consumer.received.slice(before - 5));
      await until(() => consumer.received.length > before);
      expect(consumer.received.length - before).toBeLessThanOrEqual(5);
    }
  });

  it('delivers nothing while paused, and all of it after', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'billing', { auto: true });
    consumer.source.pause();
    await publish(adapter, texts(topology, ['a', 'b']));
    await until(async () => (await adapter.backlog(topology, 'billing')).ready === 2);
    expect(consumer.received).toEqual([]);
    consumer.source.resume();
    await until(() => consumer.received.length === 2);
  });

  it('S26: takes messages of foreign producers, plain and as CloudEvents', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const { channel } = await operator();
    channel.publish(topology.topic, 'whatever', Buffer.from('plain'), {
      headers: { n: 7, yes: true, list: ['a', 1], 'x-trace': 'gone', 'hf-attempts': '3' },
      expiration: 60_000,
    });
    channel.publish(topology.topic, '', Buffer.from('event'), {
      headers: {
        'cloudEvents:id': 'ce-1',
        'cloudEvents:source': '/shop',
        'cloudEvents:specversion': '1.0',
        'cloudEvents:time': '2026-01-02T03:04:05.678Z',
        'cloudEvents:traceparent': '00-1',
      },
    });
    const consumer = await consume(adapter, topology, 'billing');
    await until(() => consumer.received.length === 2);
    const [plain, event] = consumer.received.map((delivery) => delivery.message);
    expect(plain).toMatchObject({
      id: undefined,
      source: undefined,
      contentType: undefined,
      publishedAt: undefined,
      headers: { n: '7', yes: 'true', list: '["a",1]' },
      marks: { attempts: '3' },
    });
    expect(event).toMatchObject({
      id: 'ce-1',
      source: '/shop',
      publishedAt: Date.parse('2026-01-02T03:04:05.678Z'),
      headers: { 'cloudEvents:traceparent': '00-1' },
    });
  });

  it('refuses what cannot be sent, without harm to its neighbours', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const outcomes = await publish(adapter, [
      message(topology),
      message(topology, { body: Buffer.alloc(17 * 1024 * 1024) }),
      message(topology, { headers: { huge: 'x'.repeat(70_000) } }),
      message(topology, { id: 'i'.repeat(300) }),
      message(topology),
    ]);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['confirmed', 'rejected', 'rejected', 'rejected', 'confirmed']);
    expect(outcomes[1]).toMatchObject({ error: { adapterCode: 'message-too-large' } });
    for (const outcome of outcomes)
      if (outcome.kind === 'rejected') expect(adapter.isTransient(outcome.error)).toBe(false);
  });

  it('counts ready, delayed and dead, and in flight where the management API is known', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const nothing = { ready: 0, inFlight: undefined, delayed: 0, dead: 0, oldestAgeMs: undefined, exact: true };
    expect(await adapter.backlog(topology, 'billing')).toEqual(nothing);
    await publish(adapter, [...texts(topology, ['a', 'b', 'c']), ...texts(topology, ['d'], { delayMs: 3_600_000 })]);
    const consumer = await consume(adapter, topology, 'billing', { prefetch: 3 });
    await until(() => consumer.received.length === 3);
    const [a, b] = consumer.received;
    await consumer.settleAs([
      { kind: 'dead', delivery: a!, marks: {} },
      { kind: 'retry', delivery: b!, delayMs: 600_000, marks: {} },
    ]);
    expect(await adapter.backlog(topology, 'billing')).toEqual({ ...nothing, delayed: 2, dead: 1 });

    const url = process.env.HOLDFAST_RABBITMQ_MANAGEMENT_URL;
    if (url === undefined) throw new Error('these tests need HOLDFAST_RABBITMQ_MANAGEMENT_URL');
    const { adapter: managed } = await open({ management: { url } });
    expect(managed.capabilities.backlog).toContain('inFlight');
    await managed.declare(topology);
    await until(async () => (await managed.backlog(topology, 'billing')).inFlight === 1);
  });

  it('says whose fault a failed connect is', async () => {
    const hooks = { instance: 'i', clientName: 'c', declare: 'create', emit: () => {}, crashPoint: undefined } as const;
    const failure = (url: string) =>
      rabbitmq({ url, connectTimeoutMs: 2_000 })
        .connect(hooks)
        .then(
          () => undefined,
          (error) => error,
        );
    const wrongPassword = rabbitmqUrl().replace(/\/\/[^@]*@/, '//guest:sesame@');
    const login = await failure(wrongPassword);
    expect(login).toMatchObject({ adapterCode: 'access-refused' });
    expect(JSON.stringify([login.message, login.cause.message])).not.toContain('sesame');
    expect(await failure(`${rabbitmqUrl()}/no-such-vhost`)).toMatchObject({ adapterCode: 'access-refused' });
    const nobody = await failure('amqp://127.0.0.1:1');
    expect(nobody).toMatchObject({ adapterCode: 'broker-unreachable' });
    const { isTransient } = rabbitmq({ url: rabbitmqUrl() });
    expect([login, nobody].map(isTransient)).toEqual([false, true]);
  });

  it('S39: tries its nodes in turn', async () => {
    const { adapter } = await open({ url: ['amqp://127.0.0.1:1', rabbitmqUrl()] });
    expect(await adapter.health()).toMatchObject({ connected: true });
  });

  it('names a wrong option, what it got, and what it may have meant', () => {
    const bad = (options: unknown) => () => rabbitmq(options as { url: string });
    expect(bad({ urls: 'amqp://x' })).toThrow(/no option "urls"; did you mean "url"/);
    expect(bad({ url: 'amqp://x', heartbeat: 3 })).toThrow(/did you mean "heartbeatSeconds"/);
    expect(bad({ url: 'http://u:secret@x' })).toThrow(/must begin with amqp:\/\//);
    expect(bad({ url: 'http://u:secret@x' })).not.toThrow(/secret/);
    expect(bad({ url: [] })).toThrow(/"url"/);
    expect(bad({ url: 'amqp://x', heartbeatSeconds: '5' })).toThrow(/"heartbeatSeconds".*received string/);
    expect(bad({ url: 'amqp://x', management: 'x' })).toThrow(/"management"/);
    expect(bad(undefined)).toThrow(TypeError);
  });

  it('answers without a throw when it is aborted, late or closed', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    await adapter.declare(topology);
    const signal = AbortSignal.abort(new Error('given up'));
    const aborted = await adapter.publish([message(topology)], { deadline: Date.now() + 5_000, signal });
    expect(aborted).toMatchObject([{ kind: 'rejected', error: { message: 'given up' } }]);
    expect(await publish(adapter, [message(topology)], -1)).toMatchObject([{ kind: 'rejected' }]);
    await adapter.close();
    await adapter.close();
    expect(await publish(adapter, [message(topology)])).toMatchObject([{ kind: 'rejected' }]);
    expect(await adapter.health()).toMatchObject({ connected: false });
    await expect(adapter.declare(topology)).rejects.toMatchObject({ adapterCode: 'broker-unreachable' });
  });
});

it('refuses names that are together too long for a queue, before anything is declared', async () => {
  const { adapter } = await open();
  const topology = {
    topic: 't'.repeat(200),
    groups: [{ name: 'g'.repeat(64), ordered: false }],
    partitions: 1,
    lanes: false,
  };
  await expect(adapter.declare(topology)).rejects.toMatchObject({
    adapterCode: 'invalid-option',
    message: expect.stringContaining('shorten one'),
  });
});
