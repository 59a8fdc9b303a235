import { afterEach, describe, expect, it } from 'vitest';
import { RUNGS, rungsFor } from '../../adapters/rabbitmq/delays.ts';
import type { StoredLetter, Topology } from '../../src/port.ts';
import {
  type Consumer,
  closeAll,
  consume,
  message,
  type Opened,
  open,
  operator,
  publish,
  texts,
  topologyOf,
  until,
} from './rabbitmq-fixture.ts';

afterEach(closeAll);

describe('rabbitmq: delays', () => {
  it('S23: makes up any delay of few rungs, each used once, never early and late by less than the promise', () => {
    const day = 86_400_000;
    for (let delayMs = 1; delayMs <= 60 * day; delayMs = Math.ceil(delayMs * 1.001) + 1) {
      const path = rungsFor(delayMs);
      const sum = path.reduce((total, rung) => total + rung, 0);
      expect(sum).toBeGreaterThanOrEqual(delayMs);
      expect(sum - delayMs).toBeLessThanOrEqual(Math.max(500, delayMs * 0.08));
      expect(path.length).toBeLessThanOrEqual(4);
      expect(path).toEqual([...new Set(path)].sort((a, b) => b - a));
      expect(path.every((rung) => RUNGS.includes(rung))).toBe(true);
    }
    expect([5_000, 60_000, 600_000, 3_600_000].map((delayMs) => rungsFor(delayMs).length)).toEqual([1, 1, 1, 1]);
  });

  it('retries to its own group alone, not early, with the new marks in place of the old', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered', two: 'unordered' });
    await adapter.declare(topology);
    const one = await consume(adapter, topology, 'one');
    const two = await consume(adapter, topology, 'two');
    const sent = message(topology, { key: 'k', dedupeKey: 'd', headers: { kept: 'yes', CC: 'z' }, expiresAt: 4e12 });
    await publish(adapter, [sent]);
    await until(() => one.received.length === 1 && two.received.length === 1);
    const original = one.received[0]!.message;
    const started = performance.now();
    const marks = { attempts: '1', error: 'größer' };
    expect(await one.settleAs([{ kind: 'retry', delivery: one.received[0]!, delayMs: 400, marks }])).toEqual([
      'settled',
    ]);
    expect(await adapter.backlog(topology, 'one')).toMatchObject({ ready: 0, delayed: 1 });
    expect(await adapter.backlog(topology, 'two')).toMatchObject({ ready: 0, delayed: 0 });
    await until(() => one.received.length === 2);
    const took = performance.now() - started;
    expect(took).toBeGreaterThanOrEqual(399);
    expect(took).toBeLessThan(1_400);
    expect(one.received[1]).toMatchObject({ redelivered: false, suspect: false });
    expect(one.received[1]!.message).toEqual({ ...original, marks });
    await one.settleAs([
      { kind: 'retry', delivery: one.received[1]!, delayMs: 0, marks: { key: 'a mark of that name' } },
    ]);
    await until(() => one.received.length === 3);
    expect(one.received[2]!.message).toEqual({ ...original, marks: { key: 'a mark of that name' } });
    expect(two.received).toHaveLength(1);
  });

  it('delivers a delayed message not early, over several rungs, though its publisher is gone', async () => {
    const { adapter } = await open();
    const { adapter: publisher } = await open();
    const topology = topologyOf({ one: 'unordered', two: 'unordered' });
    await adapter.declare(topology);
    await publisher.declare(topology);
    const consumers = [await consume(adapter, topology, 'one'), await consume(adapter, topology, 'two')];
    const started = performance.now();
    expect(rungsFor(1_700)).toEqual([2_000]);
    expect(rungsFor(1_200)).toEqual([1_000, 250]);
    const outcomes = await publish(publisher, [
      ...texts(topology, ['late'], { delayMs: 1_200 }),
      ...texts(topology, ['now']),
      ...texts(topology, ['soon'], { delayMs: 100 }),
    ]);
    expect(outcomes).toEqual([{ kind: 'confirmed' }, { kind: 'confirmed' }, { kind: 'confirmed' }]);
    await publisher.close();
    await until(() => consumers.every(({ received }) => received.length === 3));
    expect(performance.now() - started).toBeGreaterThanOrEqual(1_199);
    for (const consumer of consumers) expect(consumer.texts()).toEqual(['now', 'soon', 'late']);
  });

  it('Trap 7: a short delay does not wait for a long one that began before it', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'one');
    await publish(adapter, texts(topology, ['long'], { delayMs: 3_600_000 }));
    await publish(adapter, texts(topology, ['short'], { delayMs: 100 }));
    await until(() => consumer.received.length === 1);
    const [delivery] = consumer.received;
    await publish(adapter, texts(topology, ['other']));
    await until(() => consumer.received.length === 2);
    await consumer.settleAs([
      { kind: 'retry', delivery: consumer.received[1]!, delayMs: 3_600_000, marks: {} },
      { kind: 'retry', delivery: delivery!, delayMs: 100, marks: {} },
    ]);
    await until(() => consumer.received.length === 3);
    expect(consumer.texts()).toEqual(['short', 'other', 'short']);
    expect(await adapter.backlog(topology, 'one')).toMatchObject({ delayed: 2 });
  });

  it('makes its rungs again when somebody deleted them', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'one');
    const { channel } = await operator();
    let count = 0;
    for (let round = 0; round < 2; round++) {
      await publish(adapter, texts(topology, ['a'], { delayMs: 100 }));
      await until(() => consumer.received.length === count + 1);
      // A publish that finds its rung gone has all others looked for, too: the second retry must find it by itself.
      for (const retries of [1, 2]) {
        const delivery = consumer.received.at(-1)!;
        expect(await consumer.settleAs([{ kind: 'retry', delivery, delayMs: 100, marks: {} }])).toEqual(['settled']);
        await until(() => consumer.received.length === count + 1 + retries);
        await channel.deleteQueue(`${topology.topic}:one:retry:250`);
      }
      count = consumer.received.length;
      await channel.deleteQueue(`${topology.topic}::delay:250`);
    }
  });

  it('S23: a retry may wait for longer than the longest path: it walks again, and nobody sees it between', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'one');
    await publish(adapter, texts(topology, ['a'], { headers: { kept: 'yes' }, key: 'k' }));
    await until(() => consumer.received.length === 1);
    const [delivery] = consumer.received;
    const day = 86_400_000;
    const marks = { attempts: '1' };
    expect(await consumer.settleAs([{ kind: 'retry', delivery: delivery!, delayMs: 100 * day, marks }])).toEqual([
      'settled',
    ]);
    expect(await adapter.backlog(topology, 'one')).toMatchObject({ ready: 0, delayed: 1 });
    // As it will arrive after 60 days; only that what is left is 400 ms instead of 40 days.
    const { channel } = await operator();
    const waiting = await until(() => channel.get(`${topology.topic}:one:retry:${32 * day}`));
    expect(waiting.properties.headers!['hf-wait']).toBe(String(40 * day));
    const started = performance.now();
    const headers = { ...waiting.properties.headers, 'hf-wait': '400' };
    channel.sendToQueue(`${topology.topic}:one`, waiting.content, { ...waiting.properties, headers });
    channel.ack(waiting);
    await until(() => consumer.received.length === 2);
    expect(performance.now() - started).toBeGreaterThanOrEqual(399);
    expect(consumer.received[1]!.message).toEqual({ ...delivery!.message, marks });
    expect(await consumer.settle('done', consumer.received.slice(1))).toEqual(['settled']);
    await until(async () => (await adapter.backlog(topology, 'one')).delayed === 0);
    expect(await adapter.backlog(topology, 'one')).toMatchObject({ ready: 0, delayed: 0, dead: 0 });
  });

  it('refuses a delay beyond what it can make up', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const outcomes = await publish(adapter, texts(topology, ['a'], { delayMs: 61 * 86_400_000 }));
    expect(outcomes).toMatchObject([{ kind: 'rejected', error: { adapterCode: 'unsupported' } }]);
  });
});

describe('rabbitmq: dead letters', () => {
  async function deadLettered(bodies: readonly string[]): Promise<Opened & { topology: Topology; consumer: Consumer }> {
    const opened = await open();
    const topology = topologyOf({ one: 'unordered', two: 'unordered' });
    await opened.adapter.declare(topology);
    const consumer = await consume(opened.adapter, topology, 'one', { prefetch: 1_000 });
    for (let from = 0; from < bodies.length; from += 100) {
      await publish(opened.adapter, texts(topology, bodies.slice(from, from + 100), { key: 'k', headers: { h: 'ü' } }));
    }
    await until(() => consumer.received.length === bodies.length);
    const batch = consumer.received.splice(0);
    const outcomes = await consumer.settleAs(
      batch.map((delivery) => ({ kind: 'dead', delivery, marks: { reason: 'broken', 'dead-at': '7' } })),
    );
    expect(new Set(outcomes)).toEqual(new Set(['settled']));
    return { ...opened, topology, consumer };
  }
  const bodyOf = (letter: StoredLetter): string => Buffer.from(letter.message.body).toString();

  it('keeps a letter as it was, with its marks, until it is replayed to its own group or discarded', async () => {
    const before = Date.now();
    const { adapter, topology, consumer } = await deadLettered(['a', 'b', 'c']);
    const two = await consume(adapter, topology, 'two');
    await until(() => two.received.length === 3);
    const store = adapter.deadLetters(topology, 'one');
    expect(await store.count()).toBe(3);
    expect(await adapter.deadLetters(topology, 'two').count()).toBe(0);
    const kept: StoredLetter[] = [];
    for await (const page of store.scan({ pageSize: 2, signal: undefined })) {
      expect(page.length).toBeLessThanOrEqual(2);
      kept.push(...page);
      if (kept.length < 3) continue;
      const [a, b] = kept;
      expect(a).toMatchObject({ lane: 'normal', message: { key: 'k', headers: { h: 'ü' } } });
      expect(a!.message.marks).toEqual({ reason: 'broken', 'dead-at': '7' });
      expect(a!.deadAt).toBeGreaterThanOrEqual(before);
      expect(await store.replay([a!], { replays: '1' })).toEqual(['settled']);
      expect(await store.discard([b!, a!])).toEqual(['settled', 'stale']);
    }
    expect(kept.map(bodyOf)).toEqual(['a', 'b', 'c']);
    expect(new Set(kept.map(({ letterId }) => letterId)).size).toBe(3);
    await until(() => consumer.received.length === 1);
    expect(consumer.received[0]).toMatchObject({ redelivered: false, message: { key: 'k', headers: { h: 'ü' } } });
    expect(consumer.received[0]!.message.marks).toEqual({ replays: '1' });
    expect(await store.replay([kept[2]!], {})).toEqual(['stale']);
    await until(async () => (await store.count()) === 1);
    expect(two.received).toHaveLength(3);
  });

  it('Trap 4: 25 scans of dead letters, whole or left early, lose nothing and keep the order', async () => {
    const bodies = Array.from({ length: 150 }, (_, index) => String(index));
    const { adapter, topology } = await deadLettered(bodies);
    const store = adapter.deadLetters(topology, 'one');
    for (let round = 0; round < 25; round++) {
      const seen: string[] = [];
      for await (const page of store.scan({ pageSize: 4, signal: undefined })) {
        seen.push(...page.map(bodyOf));
        if (round % 3 === 1) break;
      }
      expect(seen).toEqual(round % 3 === 1 ? bodies.slice(0, 4) : bodies);
    }
    await until(async () => (await store.count()) === 150);
  });

  it('removes for good all that a scan replays or discards', async () => {
    const { adapter, topology, consumer } = await deadLettered(
      Array.from({ length: 200 }, (_, index) => String(index)),
    );
    const store = adapter.deadLetters(topology, 'one');
    for await (const page of store.scan({ pageSize: 10, signal: undefined })) {
      expect(new Set(await store.replay(page.slice(0, 5), {}))).toEqual(new Set(['settled']));
      expect(new Set(await store.discard(page.slice(5)))).toEqual(new Set(['settled']));
    }
    await until(() => consumer.received.length === 100);
    expect(await store.count()).toBe(0);
  });

  it('ends a scan when its signal aborts, and puts all back', async () => {
    const { adapter, topology } = await deadLettered(['a', 'b']);
    const store = adapter.deadLetters(topology, 'one');
    const abort = new AbortController();
    await expect(async () => {
      for await (const _ of store.scan({ pageSize: 1, signal: abort.signal })) abort.abort(new Error('enough'));
    }).rejects.toThrow('enough');
    await until(async () => (await store.count()) === 2);
  });

  it('S29: lets one scan at a time, in this process and in others', async () => {
    const { adapter, topology } = await deadLettered(['a']);
    const { adapter: other } = await open();
    const scanOf = (who: typeof adapter) => who.deadLetters(topology, 'one').scan({ pageSize: 1, signal: undefined });
    const first = scanOf(adapter)[Symbol.asyncIterator]();
    await first.next();
    const second = async () => {
      for await (const _ of scanOf(adapter)) break;
    };
    await expect(second()).rejects.toMatchObject({ adapterCode: 'busy' });
    await first.return?.();
    await until(async () => (await adapter.deadLetters(topology, 'one').count()) === 1);

    const third = scanOf(other)[Symbol.asyncIterator]();
    await third.next();
    await publish(adapter, texts(topology, ['b']));
    const consumer = await consume(adapter, topology, 'two');
    await until(() => consumer.received.length > 0);
    await third.return?.();
    await until(async () => (await adapter.deadLetters(topology, 'one').count()) === 1);
    await second();
  });

  it('cuts marks that do not fit beside the headers instead of losing the letter', async () => {
    const { adapter } = await open();
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'one');
    await publish(adapter, [message(topology, { headers: { big: 'x'.repeat(60_000) } })]);
    await until(() => consumer.received.length === 1);
    const marks = { reason: 'y'.repeat(10_000) };
    const outcomes = await consumer.settleAs([{ kind: 'dead', delivery: consumer.received[0]!, marks }]);
    expect(outcomes).toEqual(['settled']);
    expect(await adapter.deadLetters(topology, 'one').count()).toBe(1);
  });

  it('S37: names the points between a copy and the settlement of its original', async () => {
    const points: string[] = [];
    const { adapter } = await open({ hooks: { crashPoint: (name) => void points.push(name) } });
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const consumer = await consume(adapter, topology, 'one');
    await publish(adapter, texts(topology, ['a']));
    await until(() => consumer.received.length === 1);
    await consumer.settleAs([{ kind: 'retry', delivery: consumer.received[0]!, delayMs: 0, marks: {} }]);
    await until(() => consumer.received.length === 2);
    await consumer.settleAs([{ kind: 'dead', delivery: consumer.received[1]!, marks: {} }]);
    const store = adapter.deadLetters(topology, 'one');
    for await (const page of store.scan({ pageSize: 1, signal: undefined })) await store.replay(page, {});
    expect(points).toEqual(['settle:copy-confirmed', 'dead:copy-confirmed', 'replay:copy-confirmed']);
  });
});
