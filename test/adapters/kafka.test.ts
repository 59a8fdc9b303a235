import { describe, expect, it } from 'vitest';
import { kafka } from '../../adapters/kafka/index.ts';
import { partitionOf } from '../../src/partition.ts';
import {
  administer,
  brokers,
  connect,
  consume,
  keep,
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

describe('publishing to Kafka', () => {
  it('carries every attribute of a message there and back', async () => {
    const { adapter } = await connect();
    const topology = topologyOf();
    await adapter.declare(topology);
    const headers = Object.assign(Object.create(null), {
      tenant: 'größe',
      constructor: 'c',
      'content-type': 'mine',
      'a.b': '',
    });
    const sent = message(topology, 'hällo', {
      key: 'customer-7',
      dedupeKey: 'd-1',
      headers,
      publishedAt: 1_700_000_000_123,
      expiresAt: 1_900_000_000_456,
      body: new Uint8Array([0, 255, 10, 13, 0]),
    });
    const [outcome] = await publish(adapter, [sent]);
    const partition = partitionOf('customer-7', 3);
    expect(outcome).toEqual({ kind: 'confirmed', position: `${topology.topic}/${partition}/0` });
    const { got } = await consume(adapter, topology);
    await until(() => got.length === 1);
    const [delivery] = got;
    expect(delivery).toMatchObject({
      lane: 'normal',
      shard: partition,
      redelivered: false,
      suspect: false,
      position: `${topology.topic}/${partition}/0`,
    });
    expect(delivery!.message).toMatchObject({
      id: sent.id,
      source: 'tests',
      contentType: 'text/plain',
      key: 'customer-7',
      dedupeKey: 'd-1',
      marks: {},
      publishedAt: 1_700_000_000_123,
      expiresAt: 1_900_000_000_456,
    });
    expect(delivery!.message.headers).toEqual({ tenant: 'größe', constructor: 'c', 'content-type': 'mine', 'a.b': '' });
    expect([...delivery!.message.body]).toEqual([0, 255, 10, 13, 0]);
  });

  it('Trap 52: keeps the order of one key over concurrent publishes', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 4 });
    await adapter.declare(topology);
    const keys = ['a', 'b', 'c'];
    const texts = numbers(60).flatMap((text) => keys.map((key) => ({ key, text: `${key}-${text}` })));
    const outcomes = await Promise.all(
      texts.map(({ key, text }) => publish(adapter, [message(topology, text, { key })])),
    );
    expect(new Set(outcomes.flat().map(({ kind }) => kind))).toEqual(new Set(['confirmed']));
    const { got } = await consume(adapter, topology);
    await until(
      () => got.length === texts.length,
      () => got.length,
    );
    for (const key of keys) {
      expect(got.filter((one) => one.message.key === key).map(textOf)).toEqual(
        texts.filter((one) => one.key === key).map(({ text }) => text),
      );
    }
  });

  it('Trap 16: stores a thousand concurrent publishes at a thousand positions', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 6 });
    await adapter.declare(topology);
    const outcomes = (
      await Promise.all(numbers(1_000).map((text) => publish(adapter, [message(topology, text)])))
    ).flat();
    const positions = outcomes.map((outcome) => (outcome.kind === 'confirmed' ? outcome.position : outcome.kind));
    expect(new Set(positions).size).toBe(1_000);
    expect((await adapter.backlog(topology, 'billing')).ready).toBe(1_000);
  });

  it('refuses a message that is too large for good, and stores the others of its batch', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    const large = message(topology, '', { body: Buffer.alloc(2_200_000) });
    const outcomes = await publish(adapter, [message(topology, 'before'), large, message(topology, 'after')]);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['confirmed', 'rejected', 'confirmed']);
    const refused = outcomes[1] as { error: unknown };
    expect(refused.error).toMatchObject({ adapterCode: 'message-too-large' });
    expect(adapter.isTransient(refused.error)).toBe(false);
  });

  it('sends what exceeds one batch in several, in order', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    const batch = numbers(5).map((text) =>
      message(topology, '', { body: Buffer.concat([Buffer.from(text), Buffer.alloc(800_000)]) }),
    );
    const outcomes = await publish(adapter, batch);
    expect(outcomes.map((one) => (one.kind === 'confirmed' ? one.position : one))).toEqual(
      numbers(5, `${topology.topic}/0/`),
    );
  });

  it('refuses another number of partitions, naming both', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 2 });
    await adapter.declare(topology);
    const other = await connect();
    await expect(other.adapter.declare({ ...topology, partitions: 5 })).rejects.toMatchObject({
      adapterCode: 'topology-conflict',
      message: expect.stringMatching(/2 partitions.*5.*drain and move/s),
    });
  });

  it('refuses a topic that has lost its lanes, and says what to do; it may gain them', async () => {
    const { adapter } = await connect();
    const topology = topologyOf();
    await adapter.declare(topology);
    await adapter.declare({ ...topology, lanes: true });
    for (const declare of ['create', 'verify'] as const) {
      const other = await connect({}, { declare });
      await expect(other.adapter.declare(topology)).rejects.toMatchObject({
        adapterCode: 'topology-conflict',
        message: expect.stringMatching(new RegExp(`"${topology.topic}--high" and "${topology.topic}--low".*delete`)),
      });
      await other.adapter.declare({ ...topology, lanes: true });
    }
  });

  it('refuses a group whose order has changed, before and after it was consumed', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ ordered: true });
    const changed = { ...topology, groups: [{ name: 'billing', ordered: false }] };
    await adapter.declare(topology);
    const refuse = async (): Promise<void> => {
      for (const declare of ['create', 'verify'] as const) {
        const other = await connect({}, { declare });
        await expect(other.adapter.declare(changed)).rejects.toMatchObject({
          adapterCode: 'topology-conflict',
          message: expect.stringMatching(/--billing" is ordered, but declared unordered/),
        });
        await other.adapter.declare(topology);
      }
    };
    await refuse();
    await publish(adapter, [message(topology, 'x', { key: 'k' })]);
    const { got, source } = await consume(adapter, topology);
    await until(async () => got.length === 1 && (await adapter.backlog(topology, 'billing')).ready === 0);
    await refuse();
    await source.stop();
    await refuse();
  });

  it('warns of a topic with fewer replicas than the options promise, and health is red', async () => {
    const [plain, strict] = [await connect(), await connect({ replication: 3, minInsync: 2 })];
    const topology = topologyOf();
    await plain.adapter.declare(topology);
    await strict.adapter.declare(topology);
    expect(strict.events).toMatchObject([
      { type: 'connected' },
      { type: 'warning', code: 'durability', detail: expect.stringContaining(`"${topology.topic}" has 1 replicas`) },
    ]);
    expect((await strict.adapter.health()).checks).toMatchObject([
      { name: 'broker', ok: true },
      { name: 'durability', ok: false },
    ]);
    expect((await plain.adapter.health()).checks).toMatchObject([{ name: 'broker', ok: true }]);
  });

  it('creates nothing under verify, and misses what is not there', async () => {
    const { adapter } = await connect({}, { declare: 'verify' });
    await expect(adapter.declare(topologyOf())).rejects.toMatchObject({ adapterCode: 'topology-missing' });
  });

  it('refuses a delayed message whose ladder may not be made, and stores the others of its batch', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    const verifier = (await connect({}, { declare: 'verify' })).adapter;
    await verifier.declare(topology);
    const batch = [message(topology, 'a'), message(topology, 'late', { delayMs: 100 }), message(topology, 'b')];
    const outcomes = await publish(verifier, batch);
    expect(outcomes).toMatchObject([
      { kind: 'confirmed' },
      { kind: 'rejected', error: { adapterCode: 'topology-missing' } },
      { kind: 'confirmed' },
    ]);
  });

  it('rejects for good a publish to a topic that does not exist', async () => {
    const { adapter } = await connect({}, { declare: 'none' });
    const [outcome] = await publish(adapter, [message(topologyOf(), 'x')]);
    expect(outcome!.kind).toBe('rejected');
    expect(adapter.isTransient((outcome as { error: unknown }).error)).toBe(false);
  });
});

describe('consuming from Kafka', () => {
  it('hands each group its own copy, from before its first consumer', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({
      groups: [
        { name: 'billing', ordered: false },
        { name: 'board', ordered: false },
      ],
    });
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(20).map((text) => message(topology, text)),
    );
    const billing = await consume(adapter, topology);
    const board = await consume(adapter, topology, { group: 'board' });
    await until(() => billing.got.length === 20 && board.got.length === 20);
    expect(billing.texts().sort()).toEqual(numbers(20).sort());
    expect(board.texts().sort()).toEqual(numbers(20).sort());
  });

  it('S5: begins where the group began when it was declared, not where its first consumer comes', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ groups: [] });
    await adapter.declare(topology);
    await publish(adapter, [message(topology, 'old')]);
    const late = { ...topology, groups: [{ name: 'billing', ordered: false, from: 'latest' as const }] };
    await adapter.declare(late);
    await publish(adapter, [message(topology, 'new')]);
    const again = await connect();
    await again.adapter.declare({ ...late, groups: [{ name: 'billing', ordered: false, from: 'earliest' }] });
    const consumer = await consume(again.adapter, { ...late, groups: [{ name: 'billing', ordered: false }] });
    await until(() => consumer.got.length > 0);
    expect(consumer.texts()).toEqual(['new']);
  });

  it('S5: begins at a time', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ groups: [], partitions: 1 });
    await adapter.declare(topology);
    await publish(adapter, [message(topology, 'old', { publishedAt: 1_700_000_000_000 })]);
    await publish(adapter, [message(topology, 'new', { publishedAt: 1_700_000_100_000 })]);
    const timed = { ...topology, groups: [{ name: 'billing', ordered: false, from: 1_700_000_050_000 }] };
    await adapter.declare(timed);
    const consumer = await consume(adapter, timed);
    await until(() => consumer.got.length > 0);
    expect(consumer.texts()).toEqual(['new']);
  });

  it('hands out at most prefetch, and more as they are settled', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 2 });
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(50).map((text, i) => message(topology, text, { partition: i % 2 })),
    );
    const { source, got } = await consume(adapter, topology, { prefetch: 7, handle: keep });
    await until(() => got.length === 7);
    for (let settled = 0; settled < 50; settled++) {
      expect(got.length - settled).toBeLessThanOrEqual(7);
      await until(() => got.length > settled);
      expect(await settle(source, { kind: 'done', delivery: got[settled]! })).toEqual(['settled']);
    }
    expect(new Set(got.map(textOf)).size).toBe(50);
  });

  it('does not stand still after very many on one partition, nor behind one that is never settled', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    for (let i = 0; i < 24; i++)
      await publish(
        adapter,
        numbers(1_000).map((text) => message(topology, text)),
      );
    const stuck = await consume(adapter, topology, {
      prefetch: 10,
      handle: (delivery, source) => {
        if (delivery.position.endsWith('/0/0')) return;
        queueMicrotask(() => source.settle([{ kind: 'done', delivery }]));
      },
    });
    // What piles up behind the unsettled one is bounded; it goes on once that is settled.
    await until(() => stuck.got.length > 10_000);
    await stuck.source.settle([{ kind: 'done', delivery: stuck.got[0]! }]);
    await until(
      () => stuck.got.length === 24_000,
      () => stuck.got.length,
    );
  });

  it('settles each delivery once', async () => {
    const { adapter } = await connect();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [message(topology, 'x')]);
    const { source, got } = await consume(adapter, topology, { handle: keep });
    await until(() => got.length === 1);
    const done = { kind: 'done', delivery: got[0]! } as const;
    expect(await settle(source, done, done)).toEqual(['settled', 'stale']);
  });

  it('gives back in order, unspent, what is unsettled when it stops', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(5).map((text) => message(topology, text)),
    );
    const first = await consume(adapter, topology, { handle: keep });
    await until(() => first.got.length === 5);
    await settle(
      first.source,
      { kind: 'done', delivery: first.got[0]! },
      { kind: 'give-back', delivery: first.got[1]! },
    );
    await first.source.stop();
    const second = await consume(adapter, topology);
    await until(() => second.got.length === 4);
    expect(second.texts()).toEqual(numbers(5).slice(1));
    expect(second.got.map(({ suspect }) => suspect)).toEqual([false, false, false, false]);
  });

  it('hands a given-back message out again, before its successors', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(6).map((text) => message(topology, text)),
    );
    const { source, got, texts } = await consume(adapter, topology, { prefetch: 2, handle: keep });
    await until(() => got.length === 2);
    source.pause();
    await settle(source, { kind: 'give-back', delivery: got[1]! }, { kind: 'give-back', delivery: got[0]! });
    source.resume();
    await until(() => got.length === 4);
    expect(texts()).toEqual(['m0', 'm1', 'm0', 'm1']);
    expect(await settle(source, { kind: 'done', delivery: got[0]! })).toEqual(['stale']);
  });

  it('reads lanes apart, and hands out nothing of one that is paused, or at all, until it is resumed', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ lanes: true, partitions: 1 });
    await adapter.declare(topology);
    const { source, got } = await consume(adapter, topology, { prefetch: 4 });
    const sent = new Map(lanes.map((lane) => [lane, 0]));
    const send = async (...some: readonly (typeof lanes)[number][]): Promise<void> => {
      for (const lane of some) {
        await publish(adapter, [message(topology, `${lane}${sent.get(lane)}`, { lane })]);
        sent.set(lane, sent.get(lane)! + 1);
      }
    };
    const of = (lane: string) => got.filter((one) => one.lane === lane).map(textOf);
    await send(...lanes);
    await until(() => got.length === 3);
    source.pause('low');
    for (let round = 1; round <= 5; round++) {
      await send('low', 'high');
      await until(() => of('high').length === 1 + round);
    }
    expect(of('low')).toEqual(['low0']);
    source.pause();
    source.resume('low');
    await send('high', 'normal');
    await until(() => of('low').length === 6);
    expect([of('high').length, of('normal').length]).toEqual([6, 1]);
    source.resume();
    await until(() => got.length === 15);
    for (const lane of lanes) expect(of(lane)).toEqual(numbers(sent.get(lane)!, lane));
  });

  it('understands foreign messages: none of our headers, CloudEvents, no value', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    const producer = library().producer();
    await producer.connect();
    const ce = {
      ce_id: 'ce-1',
      ce_source: '/shop',
      ce_time: '2026-01-02T03:04:05.678Z',
      'content-type': 'application/json',
      'x-trace': 't',
    };
    await producer.send({
      topic: topology.topic,
      messages: [
        { value: 'plain', timestamp: '1700000000000' },
        { key: 'k', value: '{}', headers: { ...ce, 'hf-attempts': '2', mine: ['a', 'b'] } },
        { key: 'gone', value: null },
      ],
    });
    await producer.disconnect();
    const { got } = await consume(adapter, topology);
    await until(() => got.length === 3);
    expect(got[0]).toMatchObject({ position: `${topology.topic}/0/0@1700000000000` });
    expect(got[0]!.message).toMatchObject({
      id: undefined,
      source: undefined,
      contentType: undefined,
      key: undefined,
      headers: {},
      publishedAt: 1_700_000_000_000,
    });
    expect(got[1]!.message).toMatchObject({
      id: 'ce-1',
      source: '/shop',
      contentType: 'application/json',
      key: 'k',
      headers: { mine: 'b' },
      marks: { attempts: '2' },
      publishedAt: Date.parse('2026-01-02T03:04:05.678Z'),
    });
    expect(got[2]!.message).toMatchObject({ key: 'gone', body: Buffer.alloc(0) });
  });
});

describe('the Kafka adapter', () => {
  it('names a wrong option and the right one', () => {
    expect(() => kafka({ brokers, broker: 'x' } as never)).toThrow(/no option `broker`; did you mean `brokers`/);
    expect(() => kafka({ brokers: [] })).toThrow(/`brokers` must be/);
    expect(() => kafka({ brokers, sessionTimeoutMs: 3 })).toThrow(
      /`sessionTimeoutMs` must be a whole number.*received 3/,
    );
    expect(() => kafka({ brokers: 'kafka://user:secret@host' })).toThrow(/takes no credentials/);
    expect(() => kafka({ brokers: 'kafka://user:secret@host' })).not.toThrow(/secret/);
  });

  it('says that no broker answers', async () => {
    await expect(connect({ brokers: '127.0.0.1:1', connectTimeoutMs: 500 })).rejects.toMatchObject({
      adapterCode: 'broker-unreachable',
    });
  });

  it('tries several brokers in turn (S39)', async () => {
    const { adapter } = await connect({ brokers: ['127.0.0.1:1', brokers] });
    const topology = topologyOf();
    await adapter.declare(topology);
    expect(await publish(adapter, [message(topology, 'x')])).toMatchObject([{ kind: 'confirmed' }]);
  });

  it('leaves no member behind of a group that it is closed under while it joins', async () => {
    const { adapter } = await connect();
    const topology = topologyOf();
    await adapter.declare(topology);
    // Leaving takes a moment, in which the other group is joined.
    await consume(adapter, topology, { group: 'other' });
    const joining = consume(adapter, topology).catch((error: unknown) => error);
    await adapter.close();
    await joining;
    const { groups } = await administer((admin) => admin.describeGroups([`${topology.topic}--billing`]));
    expect(groups[0]!.members).toEqual([]);
  });

  it('is healthy while it consumes, and closes at once and twice', async () => {
    const { adapter } = await connect();
    const topology = topologyOf();
    await consume(adapter, topology);
    expect(await adapter.health()).toMatchObject({
      connected: true,
      checks: [{ ok: true }, { name: `consumer ${topology.topic}/billing`, ok: true }],
    });
    const began = Date.now();
    await adapter.close();
    await adapter.close();
    expect(Date.now() - began).toBeLessThan(3_000);
    expect(await adapter.health()).toEqual({ connected: false, checks: [] });
  });
});
