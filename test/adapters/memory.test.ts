import { afterEach, describe, expect, it } from 'vitest';
import { type MemoryAdapter, memory, memoryBroker, virtualClock } from '../../adapters/memory/index.ts';
import { consume, hooksOf, keyed, outgoing, publish, textOf, topologyOf } from './port-harness.ts';
import { portPromises } from './port-promises.ts';

portPromises('memory', async () => {
  const clock = virtualClock();
  const broker = memoryBroker({ clock });
  const clients: MemoryAdapter[] = [];
  return {
    async client() {
      const adapter = memory({ broker });
      clients.push(adapter);
      await adapter.connect(hooksOf());
      return adapter;
    },
    now: clock.now,
    pass: clock.advance,
    async end() {
      for (const adapter of clients) await adapter.close();
    },
  };
});

describe('memory', () => {
  const clients: MemoryAdapter[] = [];
  afterEach(async () => {
    for (const adapter of clients.splice(0)) await adapter.close();
  });
  const clock = virtualClock();
  async function client(broker = memoryBroker({ clock })): Promise<MemoryAdapter> {
    const adapter = memory({ broker });
    clients.push(adapter);
    await adapter.connect(hooksOf());
    return adapter;
  }

  it('redelivers to others, in order and as suspect, when its consumer crashes before it settles', async () => {
    const adapter = await client();
    const other = await client(adapter.broker);
    const topology = topologyOf();
    await other.declare(topology);
    await publish(
      other,
      ['a', 'b', 'c', 'd'].map((text) => outgoing(topology, text)),
    );
    const one = await consume(adapter, topology, { prefetch: 3 });
    const [, b] = await one.count(3);
    await one.settle('done', b!);
    adapter.crash();
    const two = await consume(other, topology);
    await two.count(3);
    expect(two.texts()).toEqual(['a', 'c', 'd']);
    expect(two.deliveries.map((delivery) => delivery.suspect)).toEqual([true, true, false]);
    expect(await one.settle('done', ...one.deliveries)).toEqual(['stale', 'stale', 'stale']);
  });

  it('hands the shards of a crashed consumer over from their first unsettled message', async () => {
    const adapter = await client();
    const other = await client(adapter.broker);
    const topology = topologyOf([{ name: 'g', ordered: true }], { partitions: 2 });
    await other.declare(topology);
    const one = await consume(adapter, topology, { prefetch: 2 });
    await publish(
      other,
      [0, 1, 2].flatMap((n) => [keyed(topology, `a${n}`, 'a', 0), keyed(topology, `b${n}`, 'b', 1)]),
    );
    await one.count(4);
    adapter.crash();
    const two = await consume(other, topology);
    await two.count(6);
    expect(two.texts().filter((text) => text.startsWith('a'))).toEqual(['a0', 'a1', 'a2']);
    expect(two.texts().filter((text) => text.startsWith('b'))).toEqual(['b0', 'b1', 'b2']);
  });

  it('hands a busy shard back to its holder when it does not run empty, rather than stopping it', async () => {
    const adapter = await client();
    const topology = topologyOf([{ name: 'g', ordered: true }], { partitions: 2 });
    await adapter.declare(topology);
    const one = await consume(adapter, topology);
    const two = (n: number) => [keyed(topology, `a${n}`, 'a', 0), keyed(topology, `b${n}`, 'b', 1)];
    await publish(adapter, two(0));
    await one.count(2);
    const other = await consume(await client(adapter.broker), topology);
    await publish(adapter, two(1));
    await clock.advance(4_000);
    expect(one.deliveries).toHaveLength(3);
    await clock.advance(1_000);
    expect(one.deliveries).toHaveLength(4);
    await one.settle('done', ...one.deliveries);
    await clock.advance(30_000);
    await publish(adapter, two(2));
    await other.count(1);
    expect(one.revoked).toEqual([]);
  });

  it('revokes the unsettled when the connection breaks, and delivers them again under a new epoch', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    const inbox = await consume(adapter, topology);
    const [first] = await inbox.count(1);
    adapter.disconnect();
    expect(inbox.revoked).toEqual([first!.epoch]);
    const [, second] = await inbox.count(2);
    expect(second).toMatchObject({ redelivered: true, suspect: true });
    expect(second!.epoch).toBeGreaterThan(first!.epoch);
    expect(await inbox.settle('done', first!, second!)).toEqual(['stale', 'settled']);
  });

  it('delivers in a later turn, never inside publish', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    expect(inbox.deliveries).toHaveLength(0);
    await inbox.count(1);
  });

  it('waits ten minutes in no time, on a virtual clock', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a', { delayMs: 600_000 })]);
    await clock.advance(599_999);
    expect(inbox.deliveries).toHaveLength(0);
    await clock.advance(1);
    expect(inbox.texts()).toEqual(['a']);
  });

  it('runs the timers of a virtual clock in order, each at its own time', async () => {
    const seen: [string, number][] = [];
    const start = clock.now();
    clock.setTimer(() => seen.push(['second', clock.now() - start]), 20);
    clock.setTimer(() => {
      seen.push(['first', clock.now() - start]);
      clock.setTimer(() => seen.push(['nested', clock.now() - start]), 5);
    }, 10);
    clock.setTimer(() => seen.push(['never', 0]), 15)();
    await clock.advance(100);
    expect(seen).toEqual([
      ['first', 10],
      ['nested', 15],
      ['second', 20],
    ]);
    expect(clock.now()).toBe(start + 100);
  });

  it('delivers delays on the real clock too', async () => {
    const adapter = memory();
    clients.push(adapter);
    await adapter.connect(hooksOf());
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    const earliest = Date.now() + 30;
    await publish(adapter, [outgoing(topology, 'a', { delayMs: 30 })]);
    const [a] = await inbox.count(1);
    expect(Date.now()).toBeGreaterThanOrEqual(earliest);
    expect(textOf(a!)).toBe('a');
  });

  it('names an option that it does not know', () => {
    expect(() => memory({ clok: clock } as never)).toThrow(/no option "clok".*"clock"/);
    expect(() => memory({ clock: 5 } as never)).toThrow(TypeError);
  });
});
