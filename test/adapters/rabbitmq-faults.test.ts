import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { PublishOutcome } from '../../src/port.ts';
import { type Server, startServer } from '../fleet/index.ts';
import {
  closeAll,
  consume,
  managementApi,
  message,
  open,
  operator,
  publish,
  rabbitmqctl,
  textOf,
  texts,
  topologyOf,
  until,
} from './rabbitmq-fixture.ts';

afterEach(closeAll);

describe('rabbitmq: channels and queues that die', () => {
  it('Trap 3: a queue that is deleted under its consumer is declared and consumed again', async () => {
    const { adapter, events } = await open();
    const topology = topologyOf({ one: 'unordered', board: 'ordered' }, { partitions: 2 });
    await adapter.declare(topology);
    const one = await consume(adapter, topology, 'one', { auto: true });
    const board = await consume(adapter, topology, 'board', { auto: true });
    const { channel } = await operator();
    await channel.deleteQueue(`${topology.topic}:one`);
    await channel.deleteQueue(`${topology.topic}:board:1`);
    // More than once where a new subscription met the queue still missing.
    await until(() => one.revoked.length >= 1 && board.revoked.length >= 1);
    let sent = 0;
    await until(async () => {
      await publish(adapter, texts(topology, [String(++sent)], { key: 'k', partition: 1 }));
      return one.received.length > 0 && board.received.length > 0;
    });
    expect(events).toContainEqual(expect.objectContaining({ code: 'consumer-cancelled' }));
    expect(await adapter.health()).toMatchObject({ connected: true });
  });

  it('publishes again to an exchange that was deleted, and tells what was lost with the channel', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    const other = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    await adapter.declare(other);
    await publish(adapter, [message(topology), message(other)]);
    const { channel } = await operator();
    await channel.deleteExchange(topology.topic);
    const [[lost], [fine]] = await Promise.all([
      publish(adapter, [message(topology)]),
      publish(adapter, [message(other)]),
    ]);
    expect(lost).toMatchObject({ kind: 'unknown' });
    expect(lost!.kind === 'unknown' && adapter.isTransient(lost!.error)).toBe(true);
    expect(fine).toEqual({ kind: 'confirmed' });
    expect(await publish(adapter, [message(topology)])).toEqual([{ kind: 'confirmed' }]);
  });

  it('says unknown of what a full queue refused', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const { channel } = await operator();
    const full = `${topology.topic}-full`;
    await channel.assertQueue(full, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-max-length': 1, 'x-overflow': 'reject-publish' },
    });
    await channel.bindQueue(full, topology.topic, '');
    const outcomes: PublishOutcome[] = [];
    await until(async () => {
      outcomes.push(...(await publish(adapter, [message(topology)])));
      return outcomes.at(-1)!.kind === 'unknown';
    });
    const last = outcomes.at(-1)!;
    expect(last.kind === 'unknown' && adapter.isTransient(last.error)).toBe(true);
    await channel.deleteQueue(full);
  });

  it('S18: what two dead processes had unsettled is a suspect; after one, as at any deployment, it is not', async () => {
    const { adapter } = await open();
    const dying = await Promise.all([open(), open()]);
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    await publish(adapter, texts(topology, ['a', 'b']));
    const first = await consume(dying[0].adapter, topology, 'one');
    await until(() => first.received.length === 2);
    await first.settle('done', first.received.slice(0, 1));
    await dying[0].adapter.close();
    const second = await consume(dying[1].adapter, topology, 'one');
    await until(() => second.received.length === 1);
    expect(textOf(second.received[0]!)).toBe('b');
    expect(second.received[0]).toMatchObject({ redelivered: true, suspect: false });
    await dying[1].adapter.close();
    const third = await consume(adapter, topology, 'one');
    await until(() => third.received.length === 1);
    expect(third.received[0]).toMatchObject({ redelivered: true, suspect: true, deliveries: 2 });
  });
});

describe('rabbitmq: what the management API interferes with', () => {
  it('rejects what no permission covers, for good', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    await managementApi('PUT', '/users/holdfast-reader', { password: 'reader', tags: '' });
    await managementApi('PUT', '/permissions/%2F/holdfast-reader', { configure: '^$', write: '^$', read: '.*' });
    const login = { username: 'holdfast-reader', password: 'reader' };
    const { adapter: reader } = await open({ ...login, hooks: { declare: 'none' } });
    await reader.declare(topology);
    const outcomes = await publish(reader, [message(topology), message(topology)]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ kind: 'rejected', error: { adapterCode: 'access-refused' } });
      expect(outcome.kind === 'rejected' && reader.isTransient(outcome.error)).toBe(false);
    }
    const { adapter: creator } = await open(login);
    await expect(creator.declare(topologyOf({}))).rejects.toMatchObject({ adapterCode: 'access-refused' });
  });

  it('S6: binds again what was unbound, on each connect', async () => {
    const instance = randomUUID();
    const { adapter, events } = await open({ hooks: { clientName: instance } });
    const topology = topologyOf({ one: 'unordered', two: 'unordered' });
    await adapter.declare(topology);
    const { channel } = await operator();
    await channel.unbindQueue(`${topology.topic}:two`, topology.topic, '');
    // The loss that neither a confirm nor a return tells of.
    expect(await publish(adapter, texts(topology, ['lost']))).toEqual([{ kind: 'confirmed' }]);
    const ours = await until(async () => {
      const all = (await managementApi('GET', '/connections')) as { name: string; user_provided_name?: string }[];
      return all.find((connection) => connection.user_provided_name === `${instance} publish`);
    });
    await managementApi('DELETE', `/connections/${encodeURIComponent(ours.name)}`);
    await until(() => events.filter(({ type }) => type === 'connected').length === 3);
    const two = await consume(adapter, topology, 'two', { auto: true });
    await until(async () => {
      await publish(adapter, texts(topology, ['found']));
      return two.received.length > 0;
    });
    expect(two.texts()).not.toContain('lost');
  });
});

describe('rabbitmq: a broker that dies', () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer('rabbitmq', { own: true });
  }, 120_000);
  afterAll(() => server.stop());

  it('settles every publish when it is killed, and works by itself when it is back', async () => {
    const { adapter, events } = await open({ url: server.url });
    const topology = topologyOf({ one: 'unordered', board: 'ordered' }, { partitions: 2 });
    const deaf = topologyOf({});
    await adapter.declare(topology);
    await adapter.declare(deaf);
    const held = await consume(adapter, topology, 'one', { prefetch: 1 });
    const board = await consume(adapter, topology, 'board', { auto: true });
    await publish(adapter, texts(topology, ['first'], { key: 'k', partition: 0 }));
    await until(() => held.received.length === 1);
    const [stale] = held.received;

    // RabbitMQ 4.0 writes a new queue's registration to disk within a second: killed before, it never serves it again.
    await pause(1_500);
    const inFlight = Array.from({ length: 10 }, (_, batch) =>
      publish(
        adapter,
        Array.from({ length: 100 }, (_, index) =>
          message(topology, {
            id: `${batch}-${index}`,
            body: Buffer.from(`${batch}-${index}`),
            key: 'k',
            partition: 1,
          }),
        ),
        15_000,
      ),
    );
    await server.kill();
    const outcomes = (await Promise.all(inFlight)).flat();
    expect(outcomes).toHaveLength(1_000);
    expect(outcomes.map(({ kind }) => kind)).not.toContain('unroutable');
    for (const outcome of outcomes) {
      if (outcome.kind === 'unknown' || outcome.kind === 'rejected')
        expect(adapter.isTransient(outcome.error)).toBe(true);
    }
    await until(() => held.revoked.length > 0 && board.revoked.length > 0);
    const [down] = await publish(adapter, [message(topology)], 2_000);
    expect(down).toMatchObject({ kind: 'rejected', error: { adapterCode: 'broker-unreachable' } });
    expect(await held.settle('done', [stale!])).toEqual(['stale']);
    expect(await adapter.health()).toMatchObject({ connected: false });

    await server.restart();
    await until(
      async () =>
        (await publish(adapter, [message(topology, { id: 'last', key: 'k', partition: 0 })]))[0]!.kind === 'confirmed',
    );
    expect(await publish(adapter, [message(deaf)])).toEqual([{ kind: 'unroutable' }]);
    // The old tag is 1 on the new channel too: settled there it would be somebody else's, or end the channel.
    await until(() => held.received.length === 2);
    expect(textOf(held.received[1]!)).toBe('first');
    expect(held.received[1]).toMatchObject({ redelivered: true });
    expect(await held.settle('done', [stale!])).toEqual(['stale']);
    expect(await held.settle('done', [held.received[1]!])).toEqual(['settled']);
    await until(() => held.received.length === 3);
    expect(held.received[2]!.epoch).not.toBe(stale!.epoch);

    const stored = outcomes.flatMap((outcome, index) =>
      outcome.kind === 'confirmed' ? [`${Math.floor(index / 100)}-${index % 100}`] : [],
    );
    await until(() => {
      const seen = new Set(board.texts());
      return board.received.some(({ message }) => message.id === 'last') && stored.every((text) => seen.has(text));
    });
    expect(events.map(({ type }) => type)).toContain('disconnected');
    expect(await adapter.health()).toMatchObject({ connected: true });
  }, 120_000);

  it('settles every publish by its deadline when it hangs', async () => {
    const { adapter } = await open({ url: server.url });
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    await publish(adapter, [message(topology)]);
    await server.pause();
    try {
      const abort = new AbortController();
      const aborted = adapter.publish([message(topology)], { deadline: Date.now() + 60_000, signal: abort.signal });
      const late = publish(adapter, [message(topology), message(topology)], 300);
      expect((await late).map(({ kind }) => kind)).toEqual(['unknown', 'unknown']);
      abort.abort();
      expect(await aborted).toMatchObject([{ kind: 'unknown' }]);
    } finally {
      await server.resume();
    }
    await until(async () => (await publish(adapter, [message(topology)]))[0]!.kind === 'confirmed');
  }, 60_000);

  it('Trap 9: when memory runs out publishers pause, and consumers go on acknowledging', async () => {
    const { adapter, events } = await open({ url: server.url });
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    await publish(adapter, texts(topology, ['a', 'b', 'c']));
    const consumer = await consume(adapter, topology, 'one', { prefetch: 1 });
    await until(() => consumer.received.length === 1);
    await memoryLimit('1MB');
    let low = true;
    try {
      // RabbitMQ blocks a connection when it publishes next.
      const [first] = await publish(adapter, [message(topology)], 1_000);
      expect(first!.kind).toBe('unknown');
      await until(() => events.some(({ type }) => type === 'blocked'));
      expect(await publish(adapter, [message(topology)], 300)).toMatchObject([
        { kind: 'rejected', error: { adapterCode: 'broker-unreachable' } },
      ]);
      expect((await adapter.health()).checks.some(({ ok }) => !ok)).toBe(true);
      for (const count of [1, 2]) {
        await until(() => consumer.received.length === count);
        expect(await consumer.settle('done', consumer.received.slice(-1))).toEqual(['settled']);
      }
      await until(() => consumer.received.length === 3);
      const waiting = publish(adapter, [message(topology)], 120_000);
      await memoryLimit('1GB');
      low = false;
      expect(await waiting).toEqual([{ kind: 'confirmed' }]);
    } finally {
      if (low) await memoryLimit('1GB');
    }
    expect(events.map(({ type }) => type)).toContain('unblocked');
  }, 180_000);

  const memoryLimit = (most: string) => rabbitmqctl(server, 'set_vm_memory_high_watermark', 'absolute', most);
});
