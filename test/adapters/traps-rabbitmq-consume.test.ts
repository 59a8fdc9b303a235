import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { ConsumeMessage } from 'amqplib';
import { afterEach, describe, expect, it } from 'vitest';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { RetryLater } from '../../src/errors.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { assertOrder } from '../conformance/ledger.ts';
import { idsOf, publishKeyed } from '../conformance/order-cases.ts';
import { type ConsumeScript, scriptedTopic, type TopicScript } from '../conformance/script.ts';
import { childProcess } from '../conformance/victim.ts';
import { startProxy } from '../fleet/proxy.ts';
import {
  closeAll,
  consume,
  open,
  operator,
  publish,
  rabbitmqUrl,
  say,
  texts,
  topologyOf,
  until,
  versionOf,
} from './rabbitmq-fixture.ts';
import { connect } from './traps-connect.ts';

afterEach(closeAll);

describe('rabbitmq: delivery tags', () => {
  it.for(['unordered', 'ordered'] as const)(
    'Trap 1: a delivery tag from before a reconnect settles nothing, and the new channel lives on (%s)',
    async (kind) => {
      // What the broker does to the channel of a tag that it does not know.
      const { channel } = await operator();
      const died = once(channel, 'error');
      channel.ack({ fields: { deliveryTag: 1 } } as ConsumeMessage);
      expect(String((await died)[0])).toContain('PRECONDITION_FAILED');

      const proxy = await startProxy({ target: rabbitmqUrl() });
      try {
        const { adapter, events } = await open({ url: proxy.url });
        const topology = topologyOf({ one: kind });
        await adapter.declare(topology);
        await publish(adapter, texts(topology, ['a', 'b', 'c', 'd', 'e'], { key: 'k', partition: 0 }));
        const consumer = await consume(adapter, topology, 'one');
        await until(() => consumer.received.length === 5);
        const [a, b, c, d, e] = consumer.received;
        await consumer.settle('done', [a!]);
        proxy.reset();
        await until(() => consumer.revoked.length > 0);
        await until(() => consumer.texts().slice(5).includes('e'));
        const again = consumer.received.slice(5);
        const outcomes = await consumer.settleAs([
          { kind: 'done', delivery: b! },
          { kind: 'give-back', delivery: c! },
          { kind: 'retry', delivery: d!, delayMs: 0, marks: {} },
          { kind: 'dead', delivery: e!, marks: {} },
        ]);
        expect(outcomes).toEqual(['stale', 'stale', 'stale', 'stale']);
        expect(await consumer.settle('done', again)).toEqual(again.map(() => 'settled'));
        await until(async () => (await publish(adapter, texts(topology, ['f'])))[0]!.kind === 'confirmed');
        await until(() => consumer.texts().includes('f'));
        // The same channel as after the reconnect, and nothing was copied by the old handles.
        expect(consumer.received.at(-1)!.epoch).toBe(again[0]!.epoch);
        expect(consumer.texts().slice(5 + again.length)).toEqual(['f']);
        expect(events.filter((event) => event.type === 'warning')).toEqual([]);
        expect(await adapter.backlog(topology, 'one')).toMatchObject({ ready: 0, delayed: 0, dead: 0 });
      } finally {
        await proxy.stop();
      }
    },
  );
});

describe('rabbitmq: handlers that fail', () => {
  it('Trap 5: a handler that throws, whatever and however, does not close its channel', async () => {
    const revoked: number[] = [];
    const epochs = new Set<number>();
    const inner = rabbitmq({ url: rabbitmqUrl() });
    const watched: BrokerAdapter = {
      ...inner,
      subscribe: (subscription, receive) =>
        inner.subscribe(subscription, {
          deliver(batch) {
            for (const { epoch } of batch) epochs.add(epoch);
            receive.deliver(batch);
          },
          revoked(epoch) {
            revoked.push(epoch);
            receive.revoked(epoch);
          },
        }),
    };
    const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {}, batches: {} } });
    await using client = await connect({ adapter: watched });
    const warnings: string[] = [];
    client.on('warning', ({ code }) => warnings.push(code));
    const retry = { immediate: { retries: 1, firstMs: 1 }, delays: [10] };
    const handled = new Set<string>();
    const throws: Readonly<Record<string, (() => unknown) | undefined>> = {
      error: () => {
        throw new Error('boom');
      },
      type: () => (undefined as unknown as { f(): void }).f(),
      nothing: () => {
        throw undefined;
      },
      rejects: () => Promise.reject(new RangeError('later')),
      text: () => Promise.reject('text'),
    };
    await client.consume(topic, { group: 'g', retry }, async ({ payload, id }) => {
      await throws[payload]?.();
      handled.add(id);
    });
    await client.consumeBatches(topic, { group: 'batches', retry, batch: { size: 10 } }, () => {
      throw new TypeError('the whole batch');
    });
    const bad = Object.keys(throws);
    await Promise.all(bad.map((payload) => client.publish(topic, payload)));
    await client.publish(topic, 'good', { id: 'good' });
    await until(async () => (await client.deadLetters(topic, 'g').count()) === bad.length && handled.has('good'));
    await until(async () => (await client.deadLetters(topic, 'batches').count()) === bad.length + 1);
    await client.publish(topic, 'good', { id: 'after' });
    await until(() => handled.has('after'));
    // One channel per group, from the first delivery to the last.
    expect(epochs.size).toBe(2);
    expect(revoked).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it('Trap 8: a message that is refused for ever ends among the dead letters, whichever returns the broker counts', async () => {
    const version = await versionOf();
    const counted = await countedReturns();
    say(version, `counts ${counted.length === 0 ? 'neither' : counted.join(' and ')} as a delivery that failed`);
    expect(counted).toEqual(version.atLeast(4, 3) ? ['basic.reject'] : ['basic.nack', 'basic.reject']);

    const topic = defineTopic<string>(`trap-${randomUUID()}`, {
      key: () => 'k',
      groups: { throws: {}, later: {}, batches: {}, ordered: { order: 'key' } },
    });
    await using client = await connect({ adapter: rabbitmq({ url: rabbitmqUrl() }) });
    // More than the 20 returns after which RabbitMQ 4 by itself would drop it.
    const retry = { immediate: { retries: 1, firstMs: 1 }, delays: Array<number>(14).fill(1) };
    const most = 2 * 15;
    const calls = new Map<string, number>();
    const called = (group: string): number => calls.set(group, (calls.get(group) ?? 0) + 1).get(group)!;
    await client.consume(topic, { group: 'throws', retry }, () => {
      throw new Error(`call ${called('throws')}`);
    });
    await client.consume(topic, { group: 'later', retry }, () => {
      called('later');
      throw new RetryLater(0);
    });
    await client.consumeBatches(topic, { group: 'batches', retry, batch: { size: 10 } }, () => {
      throw new Error(`call ${called('batches')}`);
    });
    await client.consume(topic, { group: 'ordered', retry, timeoutMs: 1_000 }, () => {
      throw new Error(`call ${called('ordered')}`);
    });
    await client.publish(topic, 'never');
    for (const group of ['throws', 'later', 'batches', 'ordered']) {
      const letters = client.deadLetters(topic, group);
      await until(async () => (await letters.count()) === 1);
      for await (const letter of letters.list()) expect(letter).toMatchObject({ attempts: most, reason: 'failed' });
      expect(await client.backlog(topic, group)).toMatchObject({ ready: 0, delayed: 0 });
    }
    expect(Object.fromEntries(calls)).toEqual({ throws: most, later: most, batches: most, ordered: most });
  });

  it('Trap 8: a message that is given back for ever is neither dropped by the broker nor counted by us', async () => {
    const version = await versionOf();
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    await publish(adapter, texts(topology, ['a']));
    const consumer = await consume(adapter, topology, 'one');
    for (let round = 1; round <= 60; round++) {
      await until(() => consumer.received.length === round);
      expect(await consumer.settle('give-back', consumer.received.slice(-1))).toEqual(['settled']);
    }
    await until(() => consumer.received.length === 61);
    const last = consumer.received.at(-1)!;
    expect(last).toMatchObject({ redelivered: true, message: { marks: {} } });
    // Until 4.2 the broker's count is one of returns; from 4.3 on it is one of failures, of which there was none.
    expect(last.deliveries ?? 0).toBe(version.atLeast(4, 3) ? 0 : 60);
    expect(last.suspect).toBe(!version.atLeast(4, 3));
    expect(await consumer.settle('done', [last])).toEqual(['settled']);
    expect(await consumer.settle('done', [last])).toEqual(['stale']);
    say(version, `says of a message that was given back 60 times: delivered ${last.deliveries ?? 'never'} before`);
  });

  /** Which ways to return a message raise `x-delivery-count`. */
  async function countedReturns(): Promise<readonly string[]> {
    const { channel } = await operator();
    const counted: string[] = [];
    for (const how of ['basic.nack', 'basic.reject']) {
      const queue = `trap-${randomUUID()}`;
      await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
      channel.sendToQueue(queue, Buffer.from('x'));
      const first = await until(() => channel.get(queue));
      if (how === 'basic.nack') channel.nack(first, false, true);
      else channel.reject(first, true);
      const second = await until(() => channel.get(queue));
      if (second.properties.headers?.['x-delivery-count'] > 0) counted.push(how);
      channel.ack(second);
      await channel.deleteQueue(queue);
    }
    return counted;
  }
});

describe('rabbitmq: a process that dies', () => {
  it('Trap 51: nothing overtakes what a lost connection had unsettled, though the next ones hold less', async () => {
    const topology = topologyOf({ board: 'ordered' });
    const { adapter } = await open();
    await adapter.declare(topology);
    const bodies = Array.from({ length: 60 }, (_, n) => String(n));
    await publish(adapter, texts(topology, bodies, { key: 'k', partition: 0 }));
    let done = 0;
    for (const prefetch of [50, 8, 3, 3]) {
      const proxy = await startProxy({ target: rabbitmqUrl() });
      const { adapter: dying } = await open({ url: proxy.url });
      const consumer = await consume(dying, topology, 'board', { prefetch });
      await until(() => consumer.received.length === prefetch);
      expect(consumer.texts()).toEqual(bodies.slice(done, done + prefetch));
      await consumer.settle('done', consumer.received.slice(0, 2));
      // A round trip through the same queue, begun after the acknowledgements.
      expect(await publish(dying, texts(topology, ['x'], { key: 'other', partition: 0 }))).toEqual([
        { kind: 'confirmed' },
      ]);
      done += 2;
      // As the broker sees a process that is killed.
      proxy.reset();
      await proxy.stop();
      await dying.close();
    }
    const last = await consume(adapter, topology, 'board', { auto: true, prefetch: 100 });
    const left = bodies.slice(done);
    const ours = (): readonly string[] => last.texts().filter((text) => text !== 'x');
    await until(() => ours().length >= left.length);
    expect(ours()).toEqual(left);
  });

  it('Trap 51: what it had of one key unsettled comes again in order, before all that is later', async () => {
    const script: TopicScript = { name: `trap-${randomUUID()}`, groups: { g: 'key' }, partitions: 2 };
    const topic = scriptedTopic(script);
    const options: ConsumeScript = { group: 'g', concurrency: 4, prefetch: 50, retry: { delays: [10] } };
    // Falling: what goes back goes behind what went back before, were a consumer to take a part of it alone.
    const prefetches = [50, 8, 3];
    await using publisher = await connect({ adapter: rabbitmq({ url: rabbitmqUrl() }) });
    const early = await publishKeyed(publisher, topic, ['one', 'two'], 120);
    const victims = [];
    for (const [index, holdFrom] of [20, 40, 60].entries()) {
      const victim = await childProcess({ name: 'trap 51', child: { url: rabbitmqUrl() } }, `victim-${index}`);
      victims.push(victim);
      // It handles up to there, and holds a prefetch of each key that it never settles. Not of both keys at once from the
      // second death on: what has seen two is a suspect, and suspects go one by one.
      await victim.consume(script, { ...options, prefetch: prefetches[index]! }, { holdFrom });
      await victim.started.when(
        () => `message ${holdFrom}`,
        () => victim.started.entries.some(({ n }) => n === holdFrom),
      );
      await victim.kill();
    }
    const late = await publishKeyed(publisher, topic, ['one', 'two'], 20, 120);
    const keys = new Map([...early].map(([key, ns]) => [key, [...ns, ...late.get(key)!]]));
    const last = await childProcess({ name: 'trap 51', child: { url: rabbitmqUrl() } }, 'survivor');
    await last.consume(script, options, {});
    const all = [...victims, last];
    const wanted = idsOf(keys).length;
    await last.handled.when(
      () => `all ${wanted}`,
      () => new Set(all.flatMap(({ handled }) => [...handled.ids()])).size === wanted,
    );
    assertOrder(
      all.flatMap(({ handled }) => handled.entries),
      keys,
    );
    // Nor did a later call of any process begin before an earlier message of its key was done.
    assertOrder(
      all.flatMap(({ started }) => started.entries),
      keys,
    );
    await last.close();
  }, 120_000);
});
