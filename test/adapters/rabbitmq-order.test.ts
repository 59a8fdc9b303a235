import { afterEach, describe, expect, it } from 'vitest';
import { preferences } from '../../adapters/rabbitmq/consume.ts';
import type { Delivery, Outgoing, Topology } from '../../src/port.ts';
import {
  type Consumer,
  closeAll,
  consume,
  message,
  open,
  operator,
  publish,
  say,
  textOf,
  texts,
  topologyOf,
  until,
  versionOf,
} from './rabbitmq-fixture.ts';

afterEach(closeAll);

const rounds = (topology: Topology, from: number, to: number): readonly Outgoing[] =>
  Array.from({ length: to - from }, (_, index) => from + index).flatMap((round) =>
    Array.from({ length: topology.partitions }, (_, partition) =>
      message(topology, { body: Buffer.from(`${partition}:${round}`), key: `k${partition}`, partition }),
    ),
  );

describe('rabbitmq: lanes', () => {
  it('delivers each lane from its own queue, each up to the prefetch', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered', audit: 'unordered' }, { lanes: true });
    await adapter.declare(topology);
    for (const lane of ['low', 'normal', 'high'] as const) {
      const keyed = texts(topology, ['c'], { lane, key: 'k', partition: 0 });
      await publish(adapter, [...texts(topology, ['a', 'b'], { lane }), ...keyed]);
    }
    for (const group of ['billing', 'audit']) {
      const consumer = await consume(adapter, topology, group, { prefetch: 2 });
      await until(() => consumer.received.length === 6);
      const lanes = consumer.received.map((delivery) => `${delivery.lane} ${textOf(delivery)}`);
      expect(lanes.sort()).toEqual(['high a', 'high b', 'low a', 'low b', 'normal a', 'normal b']);
      consumer.source.pause('low');
      await consumer.settle('done', consumer.received.slice());
      await until(() => consumer.received.length === 8);
      expect(
        consumer.received
          .slice(6)
          .map(({ lane }) => lane)
          .sort(),
      ).toEqual(['high', 'normal']);
      consumer.source.resume('low');
      await until(() => consumer.received.length === 9);
    }
  });

  it('keeps lane and shard of an ordered group with lanes through retry, dead letter and replay', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ board: 'ordered' }, { lanes: true, partitions: 3 });
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'board');
    await publish(adapter, texts(topology, ['a'], { lane: 'high', key: 'k', partition: 2 }));
    const place = (delivery: Delivery | undefined) => [delivery?.lane, delivery?.shard];
    await until(() => consumer.received.length === 1);
    await consumer.settleAs([{ kind: 'retry', delivery: consumer.received[0]!, delayMs: 100, marks: { n: '1' } }]);
    await until(() => consumer.received.length === 2);
    await consumer.settleAs([{ kind: 'dead', delivery: consumer.received[1]!, marks: { n: '2' } }]);
    const store = adapter.deadLetters(topology, 'board');
    for await (const page of store.scan({ pageSize: 10, signal: undefined })) {
      expect(page[0]).toMatchObject({ lane: 'high', message: { key: 'k', marks: { n: '2' } } });
      expect(await store.replay(page, {})).toEqual(['settled']);
    }
    await until(() => consumer.received.length === 3);
    // Edited, it is of its new key's shard; without a key of that of its letter.
    for (const edit of [{ key: 'other', partition: 1 }, {}]) {
      const [last] = consumer.received.slice(-1);
      const count = consumer.received.length + 1;
      await consumer.settleAs([{ kind: 'dead', delivery: last!, marks: {} }]);
      for await (const [letter] of store.scan({ pageSize: 1, signal: undefined })) {
        const edited = message(topology, { lane: 'high', ...edit });
        expect(await store.replace([{ letter: letter!, message: edited, marks: {} }])).toEqual(['settled']);
      }
      await until(() => consumer.received.length === count);
    }
    expect(consumer.received.map(place)).toEqual([
      ['high', 2],
      ['high', 2],
      ['high', 2],
      ['high', 1],
      ['high', 1],
    ]);
  });
});

describe('rabbitmq: ordered groups', () => {
  it('S19: lets no one of two processes have every shard', () => {
    for (const shards of [2, 3, 4, 8]) {
      for (let pair = 0; pair < 500; pair++) {
        const [one, two] = [preferences(shards, `a${pair}`), preferences(shards, `b${pair}`)];
        const won = one.filter((priority, shard) => priority > two[shard]!).length;
        expect(won).toBeGreaterThan(0);
        expect(won).toBeLessThan(shards);
        expect(one.every((priority) => Number.isSafeInteger(priority) && priority >= 0 && priority < 2 ** 31)).toBe(
          true,
        );
      }
    }
  });

  it('S19: spreads shards over consumers, and hands one over when all that was delivered of it is settled', async () => {
    const version = await versionOf();
    const topology = topologyOf({ board: 'ordered' }, { partitions: 4 });
    const { adapter: one } = await open();
    const { adapter: two } = await open();
    await one.declare(topology);
    const first = await consume(one, topology, 'board', { prefetch: 1 });
    await publish(one, rounds(topology, 0, 2));
    await until(() => first.received.length === 4);
    const second = await consume(two, topology, 'board', { prefetch: 1 });
    const seen: string[] = [];
    const drain = async (consumer: Consumer): Promise<void> => {
      const batch = consumer.received.splice(0);
      seen.push(...batch.map(textOf));
      await consumer.settle('done', batch);
    };
    const shards = new Map<Consumer, Set<number>>([
      [first, new Set()],
      [second, new Set()],
    ]);
    let sent = 2;
    const round = async (): Promise<void> => {
      await publish(one, rounds(topology, sent, ++sent));
      for (const [consumer, owned] of shards) {
        for (const { shard } of consumer.received) owned.add(shard);
        await drain(consumer);
      }
    };
    if (version.atLeast(4)) {
      await until(async () => {
        await round();
        return [...shards.values()].every((owned) => owned.size > 0) && shards.get(second)!.size < 4;
      });
      say(version, 'hands shards over to the consumer that ranks them higher');
      await second.source.stop();
    } else {
      for (let more = 0; more < 50; more++) await round();
      expect(shards.get(second)!.size).toBe(0);
      say(version, 'leaves every shard with its first consumer while that one lives');
      await first.source.stop();
    }
    const last = version.atLeast(4) ? first : second;
    await until(async () => {
      await drain(last);
      return new Set(seen).size === sent * 4;
    });
    for (let partition = 0; partition < 4; partition++) {
      const own = [...new Set(seen.filter((text) => text.startsWith(`${partition}:`)))];
      expect(own).toEqual(Array.from({ length: sent }, (_, each) => `${partition}:${each}`));
    }
  });

  it('Trap 53: nothing overtakes what a stopped consumer had unsettled, though the next one may hold less', async () => {
    const topology = topologyOf({ board: 'ordered' }, { partitions: 1 });
    const { adapter } = await open();
    await adapter.declare(topology);
    await publish(adapter, rounds(topology, 0, 60));
    const expected = Array.from({ length: 60 }, (_, round) => `0:${round}`);
    const big = await consume(adapter, topology, 'board', { prefetch: 50 });
    await until(() => big.received.length === 50);
    await big.settle('done', big.received.slice(0, 2));
    await big.source.stop();
    for (let time = 0; time < 3; time++) {
      const small = await consume(adapter, topology, 'board', { prefetch: 3 });
      await until(() => small.received.length === 3);
      expect(small.texts()).toEqual(expected.slice(2, 5));
      await small.source.stop();
    }
    const last = await consume(adapter, topology, 'board', { auto: true });
    await until(() => last.received.length === 58);
    expect(last.texts()).toEqual(expected.slice(2));
  });

  it('S20: gives back in order, together with all that followed', async () => {
    const topology = topologyOf({ board: 'ordered' });
    const { adapter } = await open();
    await adapter.declare(topology);
    await publish(adapter, rounds(topology, 0, 6));
    const consumer = await consume(adapter, topology, 'board', { prefetch: 4 });
    await until(() => consumer.received.length === 4);
    const [a, b, c, d] = consumer.received;
    const outcomes = await consumer.settleAs([
      { kind: 'give-back', delivery: c! },
      { kind: 'give-back', delivery: b! },
      { kind: 'done', delivery: a! },
    ]);
    expect(outcomes).toEqual(['settled', 'settled', 'settled']);
    expect(consumer.revoked).toEqual([a!.epoch]);
    expect(await consumer.settle('done', [d!])).toEqual(['stale']);
    await until(() => consumer.received.length === 8);
    expect(consumer.texts().slice(4)).toEqual(['0:1', '0:2', '0:3', '0:4']);
  });

  it('gives back what is unsettled to another process when a paused source stops', async () => {
    const topology = topologyOf({ board: 'ordered' });
    const { adapter } = await open();
    const { adapter: other } = await open();
    await adapter.declare(topology);
    await publish(adapter, rounds(topology, 0, 5));
    const consumer = await consume(adapter, topology, 'board');
    await until(() => consumer.received.length === 5);
    consumer.source.pause();
    expect(await consumer.settle('give-back', consumer.received.slice(1))).toEqual(Array(4).fill('settled'));
    expect(await consumer.settle('done', consumer.received.slice(0, 1))).toEqual(['settled']);
    const next = await consume(other, topology, 'board');
    await consumer.source.stop();
    await until(() => next.received.length === 4);
    expect(next.texts()).toEqual(['0:1', '0:2', '0:3', '0:4']);
  });

  it('holds deliveries of a paused shard until it is resumed', async () => {
    const topology = topologyOf({ board: 'ordered' });
    const { adapter } = await open();
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'board', { prefetch: 2 });
    consumer.source.pause();
    await publish(adapter, rounds(topology, 0, 4));
    await until(async () => (await adapter.backlog(topology, 'board')).ready === 0);
    expect(consumer.received).toEqual([]);
    consumer.source.resume();
    await until(() => consumer.received.length === 2);
    await consumer.settle('done', consumer.received.slice());
    await until(() => consumer.received.length === 4);
    expect(consumer.texts()).toEqual(['0:0', '0:1', '0:2', '0:3']);
  });
});

describe('rabbitmq: topology', () => {
  it('S2: refuses another number of partitions, another order of a group, and a change of lanes', async () => {
    const { adapter } = await open();
    const { adapter: other } = await open();
    const topology = topologyOf({ board: 'ordered', billing: 'unordered' }, { partitions: 4 });
    await adapter.declare(topology);
    await adapter.declare(topology);
    const conflict = { adapterCode: 'topology-conflict' };
    const refused = async (changed: Partial<Topology>, text: RegExp): Promise<void> => {
      const error = await other.declare({ ...topology, ...changed }).catch((reason: unknown) => reason);
      expect(error).toMatchObject(conflict);
      expect((error as Error).message).toMatch(text);
    };
    await refused({ partitions: 5 }, /4 partitions.*not 5.*x-max-length/);
    await refused({ partitions: 1, groups: [{ name: 'billing', ordered: false }] }, /4 partitions/);
    await refused({ groups: [{ name: 'board', ordered: false }] }, /"board".*is ordered/);
    await refused({ groups: [{ name: 'billing', ordered: true }] }, /"billing".*is unordered/);
    await refused({ lanes: true }, /exchange.*argument "type"/);
  });

  it('names the queue and the argument that differ', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    const { channel } = await operator();
    const queue = `${topology.topic}:billing`;
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'classic' } });
    const error = await adapter.declare(topology).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ adapterCode: 'topology-conflict' });
    expect((error as Error).message).toContain(`queue "${queue}"`);
    expect((error as Error).message).toContain('x-queue-type');
  });

  it('S17: takes a queue without delivery limit as it is, and says so where RabbitMQ would then have one', async () => {
    const version = await versionOf();
    const { adapter, events } = await open();
    const topology = topologyOf({ billing: 'unordered' });
    const { channel } = await operator();
    await channel.assertQueue(`${topology.topic}:billing`, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await adapter.declare(topology);
    const warned = events.some((event) => event.type === 'warning' && event.code === 'delivery-limit');
    const { checks } = await adapter.health();
    expect(warned).toBe(version.atLeast(4));
    expect(checks.some(({ name, ok }) => name === 'delivery-limit' && !ok)).toBe(version.atLeast(4));
    expect(await publish(adapter, texts(topology, ['a']))).toEqual([{ kind: 'confirmed' }]);
    say(version, `without x-delivery-limit a queue has ${version.atLeast(4) ? 'one of 20: a warning' : 'none'}`);
  });

  it('adds a group that is consumed and was not declared', async () => {
    const { adapter } = await open();
    const topology = topologyOf({});
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'late', { auto: true });
    expect(await publish(adapter, texts(topology, ['a']))).toEqual([{ kind: 'confirmed' }]);
    await until(() => consumer.received.length === 1);
    const { adapter: bare } = await open({ hooks: { declare: 'none' } });
    await expect(consume(bare, topologyOf({ one: 'unordered' }), 'one')).rejects.toMatchObject({
      adapterCode: 'topology-missing',
    });
  });

  it('verifies without creating', async () => {
    const { adapter } = await open();
    const { adapter: verifier } = await open({ hooks: { declare: 'verify' } });
    const topology = topologyOf({ billing: 'unordered' });
    await expect(verifier.declare(topology)).rejects.toMatchObject({ adapterCode: 'topology-missing' });
    await adapter.declare(topology);
    await verifier.declare(topology);
    expect(await publish(verifier, texts(topology, ['a']))).toEqual([{ kind: 'confirmed' }]);
    const more = { ...topology, groups: [{ name: 'more', ordered: false }] };
    await expect(verifier.declare(more)).rejects.toMatchObject({ adapterCode: 'topology-missing' });
  });

  it('S6: sees a missing binding when it may ask the management API', async () => {
    const url = process.env.HOLDFAST_RABBITMQ_MANAGEMENT_URL;
    if (url === undefined) throw new Error('these tests need HOLDFAST_RABBITMQ_MANAGEMENT_URL');
    const { adapter } = await open();
    const { adapter: verifier } = await open({ hooks: { declare: 'verify' }, management: { url } });
    const topology = topologyOf({ billing: 'unordered', audit: 'unordered' });
    await adapter.declare(topology);
    await until(() =>
      verifier.declare(topology).then(
        () => true,
        () => false,
      ),
    );
    const { channel } = await operator();
    await channel.unbindQueue(`${topology.topic}:audit`, topology.topic, '');
    await expect(verifier.declare(topology)).rejects.toMatchObject({ adapterCode: 'topology-missing' });
    // Declared again, it is whole again.
    await adapter.declare(topology);
    await verifier.declare(topology);
  });
});
