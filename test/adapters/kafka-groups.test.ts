import { describe, expect, it } from 'vitest';
import { spread } from '../../adapters/kafka/assign.ts';
import { rawClusterOf } from '../../adapters/kafka/kafkajs/cluster.ts';
import { ownSockets } from '../../adapters/kafka/kafkajs/sockets.ts';
import type { Delivery } from '../../src/port.ts';
import {
  administer,
  connect,
  consume,
  consumeInChild,
  keep,
  kill,
  lanes,
  library,
  message,
  numbers,
  publish,
  settle,
  textOf,
  topologyOf,
  until,
} from './kafka-fixture.ts';

describe('a Kafka consumer that dies', () => {
  it('Trap 11: settled out of order and killed, it skips nothing that it had not settled, and the rest comes as suspect', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(5).map((text) => message(topology, text)),
    );
    const { child, lines } = consumeInChild(topology, 'm0,m3,m2');
    await until(
      () => lines.filter((line) => line.startsWith('settled')).length === 3 && lines.length === 8,
      () => lines,
    );
    // Until the first is committed, so that what comes again is what the watermark says.
    await until(async () => (await adapter.backlog(topology, 'billing')).ready === 4);
    await kill(child);
    const { got } = await consume(adapter, topology);
    await until(
      () => got.length === 4,
      () => got.map(textOf),
    );
    expect(got.map(textOf)).toEqual(['m1', 'm2', 'm3', 'm4']);
    expect(got.map(({ redelivered, suspect }) => redelivered && suspect)).toEqual([true, true, true, true]);
    await publish(
      adapter,
      numbers(150, 'n').map((text) => message(topology, text)),
    );
    await until(() => got.length === 154);
    // A prefetch of records may have been out when it died; what comes after that was not.
    expect(got.at(-1)).toMatchObject({ redelivered: false, suspect: false });
  });
});

describe('a Kafka consumer group', () => {
  it('Trap 12: a handler that runs longer than the session timeout keeps its member in the group', async () => {
    const { adapter } = await connect({ sessionTimeoutMs: 6_000 });
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(adapter, [message(topology, 'slow')]);
    const { source, got, revoked } = await consume(adapter, topology, { handle: keep });
    await until(() => got.length === 1);
    const end = Date.now() + 8_000;
    await until(() => Date.now() > end);
    expect(revoked).toEqual([]);
    expect(await settle(source, { kind: 'done', delivery: got[0]! })).toEqual(['settled']);
    await until(async () => (await adapter.backlog(topology, 'billing')).ready === 0);
    expect(got).toHaveLength(1);
  });

  it('Trap 13: rebalances in the middle of handlers: what has moved is stale and is never committed, what stayed is undisturbed', async () => {
    const [one, two] = [await connect(), await connect()];
    const topology = topologyOf({ partitions: 4 });
    await one.adapter.declare(topology);
    await publish(
      one.adapter,
      numbers(40).map((text, i) => message(topology, text, { partition: i % 4 })),
    );
    const first = await consume(one.adapter, topology, { handle: keep });
    await until(() => first.got.length === 40);
    const second = await consume(two.adapter, topology, { handle: keep });
    // It gets what the first one had, of the partitions that move: half of them.
    await until(() => second.got.length === 20);
    expect(second.got.every(({ redelivered, suspect }) => redelivered && !suspect)).toBe(true);
    await until(() => first.revoked.length >= 2);
    const moved = new Set(second.got.map(({ shard }) => shard));
    expect(moved.size).toBe(2);
    const outcomes = await first.source.settle(first.got.map((delivery) => ({ kind: 'done', delivery })));
    for (const [index, delivery] of first.got.entries())
      expect(outcomes[index]).toBe(moved.has(delivery.shard) ? 'stale' : 'settled');
    const committed = async (): Promise<readonly string[]> => {
      const of = { groupId: `${topology.topic}--billing`, topics: [topology.topic] };
      const [found] = await administer((admin) => admin.fetchOffsets(of));
      return found!.partitions.toSorted((a, b) => a.partition - b.partition).map(({ offset }) => offset);
    };
    const wanted = [0, 1, 2, 3].map((partition) => (moved.has(partition) ? '0' : '10'));
    await until(async () => (await committed()).filter((offset) => offset === '10').length === 2);
    expect(await committed()).toEqual(wanted);
    expect([first.got.length, second.got.length]).toEqual([40, 20]);
    // Neither when the former owner goes, which commits whatever is its own.
    await one.adapter.close();
    expect(await committed()).toEqual(wanted);
    await second.source.settle(second.got.map((delivery) => ({ kind: 'done', delivery })));
    await until(async () => (await two.adapter.backlog(topology, 'billing')).ready === 0);
    expect(second.got).toHaveLength(20);
  });

  it('waits for the running handlers of an ordered group before a partition moves', async () => {
    const [one, two] = [await connect(), await connect()];
    const topology = topologyOf({ partitions: 2, ordered: true });
    await one.adapter.declare(topology);
    await publish(
      one.adapter,
      [0, 1].flatMap((partition) =>
        numbers(3, `${partition}-`).map((text) => message(topology, text, { key: `k${partition}`, partition })),
      ),
    );
    const first = await consume(one.adapter, topology, { handle: keep, prefetch: 1 });
    await until(() => first.got.length === 2);
    const joining = consume(two.adapter, topology, { prefetch: 1 });
    let joined = false;
    joining.then(() => {
      joined = true;
    });
    // Longer than the new member needs where nobody makes it wait.
    const end = Date.now() + 3_000;
    await until(() => Date.now() > end);
    expect(joined).toBe(false);
    expect(first.revoked).toEqual([]);
    expect(await first.source.settle(first.got.map((delivery) => ({ kind: 'done', delivery })))).toEqual([
      'settled',
      'settled',
    ]);
    const second = await joining;
    await until(() => second.got.length === 2);
    // Nothing of what was finished comes again, nothing is missing.
    expect(second.texts().map((text) => text.slice(1))).toEqual(['-1', '-2']);
  });

  it('keeps the order of each key over two instances, of which one comes and goes (G5)', async () => {
    const [one, two] = [await connect(), await connect()];
    const topology = topologyOf({ partitions: 4, ordered: true });
    await one.adapter.declare(topology);
    const firsts = new Map<string, number[]>();
    const handle = (
      delivery: Delivery,
      source: { settle: (batch: readonly { kind: 'done'; delivery: Delivery }[]) => unknown },
    ) => {
      setTimeout(() => {
        const [key, number] = textOf(delivery).split(':') as [string, string];
        const seen = firsts.get(key) ?? [];
        firsts.set(key, seen);
        if (!seen.includes(Number(number))) seen.push(Number(number));
        source.settle([{ kind: 'done', delivery }]);
      }, 1);
    };
    const keys = numbers(8, 'key');
    await consume(one.adapter, topology, { handle, prefetch: 1 });
    let joins: Promise<unknown> = Promise.resolve();
    for (let number = 0; number < 60; number++) {
      await publish(
        one.adapter,
        keys.map((key) => message(topology, `${key}:${number}`, { key })),
      );
      if (number === 20) joins = consume(two.adapter, topology, { handle, prefetch: 1 });
      if (number === 40) joins = joins.then(() => two.adapter.close());
    }
    await joins;
    await until(
      () => keys.every((key) => firsts.get(key)?.length === 60),
      () => [...firsts].map(([key, seen]) => [key, seen.length]),
    );
    for (const key of keys) expect(firsts.get(key)).toEqual(Array.from({ length: 60 }, (_, i) => i));
  });

  it('takes back, as stale, what a member had that was put out of the group, and goes on', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 2 });
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(10).map((text) => message(topology, text)),
    );
    const { source, got, revoked } = await consume(adapter, topology, { handle: keep });
    await until(() => got.length === 10);
    const { groups } = await administer((admin) => admin.describeGroups([`${topology.topic}--billing`]));
    const cluster = rawClusterOf(
      library(),
      ownSockets(() => {}),
    );
    await cluster.connect();
    await cluster.refreshMetadata();
    const coordinator = await cluster.findGroupCoordinator({ groupId: `${topology.topic}--billing` });
    await coordinator.leaveGroup({ groupId: `${topology.topic}--billing`, memberId: groups[0]!.members[0]!.memberId });
    await cluster.disconnect();
    await until(() => got.length === 20);
    expect(new Set(got.slice(0, 10).map(({ epoch }) => epoch)).isSubsetOf(new Set(revoked))).toBe(true);
    expect(new Set(await source.settle(got.map((delivery) => ({ kind: 'done', delivery }))))).toEqual(
      new Set(['stale', 'settled']),
    );
    await until(async () => (await adapter.backlog(topology, 'billing')).ready === 0);
  });

  it('gives partition n of every lane to one member (S19)', async () => {
    const [one, two] = [await connect(), await connect()];
    const topology = topologyOf({ partitions: 5, lanes: true, ordered: true });
    await one.adapter.declare(topology);
    const first = await consume(one.adapter, topology);
    const second = await consume(two.adapter, topology);
    await until(async () => {
      await publish(
        one.adapter,
        lanes.flatMap((lane) =>
          [0, 1, 2, 3, 4].map((partition) => message(topology, 'x', { lane, partition, key: `k${partition}` })),
        ),
      );
      return second.got.length > 5;
    });
    const begin = [first.got.length, second.got.length];
    await publish(
      one.adapter,
      lanes.flatMap((lane) =>
        [0, 1, 2, 3, 4].map((partition) => message(topology, 'last', { lane, partition, key: `k${partition}` })),
      ),
    );
    await until(() => [...first.got, ...second.got].filter((one) => textOf(one) === 'last').length === 15);
    const shards = [first.got.slice(begin[0]), second.got.slice(begin[1])].map((got) =>
      Map.groupBy(got, ({ shard }) => shard),
    );
    for (const byShard of shards)
      for (const [, got] of byShard) expect(new Set(got.map(({ lane }) => lane)).size).toBe(3);
    expect(shards.map(({ size }) => size).toSorted()).toEqual([2, 3]);
  });
});

describe('the spread of units over members', () => {
  it('is even, and leaves as much as possible where it is', () => {
    const before = spread([6, 8], [{ id: 'a', owned: [] }]);
    expect(before.get('a')!.map((units) => units.length)).toEqual([6, 8]);
    const after = spread(
      [6, 8],
      [
        { id: 'b', owned: [] },
        { id: 'a', owned: before.get('a')! },
      ],
    );
    expect([...after.values()].map((pools) => pools.map((units) => units.length))).toEqual([
      [3, 4],
      [3, 4],
    ]);
    expect(after.get('a')!.every((units, pool) => units.every((unit) => before.get('a')![pool]!.includes(unit)))).toBe(
      true,
    );
    const third = spread([6, 8], [{ id: 'c', owned: [] }, ...[...after].map(([id, owned]) => ({ id, owned }))]);
    for (const [id, pools] of third)
      for (const [pool, units] of pools.entries())
        if (id !== 'c') expect(units.filter((unit) => !after.get(id)![pool]!.includes(unit))).toEqual([]);
  });

  it('gives every unit to exactly one member, whatever they claim', () => {
    for (let members = 1; members <= 9; members++) {
      const claims = Array.from({ length: members }, (_, i) => ({ id: `m${i}`, owned: [[0, 1, 2, 3, 99, -1], [i]] }));
      const result = spread([7, 3], claims);
      for (const [pool, units] of [7, 3].entries()) {
        const all = [...result.values()].flatMap((pools) => pools[pool]!);
        expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: units }, (_, i) => i));
      }
      const totals = [...result.values()].map((pools) => pools.flat().length);
      expect(Math.max(...totals) - Math.min(...totals)).toBeLessThanOrEqual(2);
    }
  });
});
