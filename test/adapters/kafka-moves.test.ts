import { describe, expect, it } from 'vitest';
import { partitionOf } from '../../src/partition.ts';
import type { Delivery, Source } from '../../src/port.ts';
import {
  connect,
  consume,
  keep,
  lanes,
  lettersOf,
  message,
  numbers,
  publish,
  settle,
  textOf,
  topologyOf,
  until,
} from './kafka-fixture.ts';

/** No retry, replay or delayed publish may be later than this, beside load. */
const LATE_MS = 1_500;

describe('retries on Kafka', () => {
  it('come back to their own group alone, under new marks, not early', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({
      lanes: true,
      groups: [
        { name: 'billing', ordered: false },
        { name: 'board', ordered: false },
      ],
    });
    await adapter.declare(topology);
    await publish(adapter, [
      message(topology, 'x', {
        key: 'k',
        lane: 'high',
        headers: { kept: 'yes' },
        publishedAt: 1_700_000_000_123,
        dedupeKey: 'd',
      }),
    ]);
    const at: number[] = [];
    const billing = await consume(adapter, topology, {
      handle(delivery, source) {
        at.push(Date.now());
        const attempts = Number(delivery.message.marks.attempts ?? 0) + 1;
        const delayMs = [100, 700, 0][attempts - 1];
        if (delayMs === undefined) source.settle([{ kind: 'done', delivery }]);
        else
          source.settle([
            { kind: 'retry', delivery, delayMs, marks: { attempts: String(attempts), [`a${attempts}`]: 'ü' } },
          ]);
      },
    });
    const board = await consume(adapter, topology, { group: 'board' });
    await until(() => billing.got.length === 4 && board.got.length === 1);
    for (const [index, delayMs] of [100, 700, 0].entries()) {
      const took = at[index + 1]! - at[index]!;
      expect(took).toBeGreaterThanOrEqual(delayMs);
      expect(took).toBeLessThan(delayMs + LATE_MS);
    }
    const first = billing.got[0]!;
    for (const [index, { message, ...delivery }] of billing.got.entries()) {
      expect(delivery).toMatchObject({
        lane: 'high',
        shard: partitionOf('k', 3),
        position: first.position,
        redelivered: false,
        suspect: false,
      });
      expect(message).toMatchObject({
        id: first.message.id,
        key: 'k',
        headers: { kept: 'yes' },
        publishedAt: 1_700_000_000_123,
        dedupeKey: 'd',
        source: 'tests',
        contentType: 'text/plain',
      });
      expect(message.marks).toEqual(index === 0 ? {} : { attempts: String(index), [`a${index}`]: 'ü' });
      expect(message.body).toEqual(first.message.body);
    }
    expect((await adapter.backlog(topology, 'billing')).ready).toBe(0);
    expect((await adapter.backlog(topology, 'billing')).delayed).toBe(0);
  });

  it('Trap 17: that are far from due hold up neither other partitions, nor shorter retries, nor heartbeats', async () => {
    const { adapter } = await connect({ sessionTimeoutMs: 6_000 });
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(adapter, [message(topology, 'long'), message(topology, 'short')]);
    const { got, source, revoked } = await consume(adapter, topology, {
      handle(delivery, source) {
        const retried = delivery.message.marks.attempts !== undefined;
        const delayMs = { long: 3_600_000, short: 300 }[textOf(delivery)];
        if (delayMs === undefined || retried) source.settle([{ kind: 'done', delivery }]);
        else source.settle([{ kind: 'retry', delivery, delayMs, marks: { attempts: '1' } }]);
      },
    });
    await until(() => got.length === 3);
    expect(got.map(textOf)).toEqual(['long', 'short', 'short']);
    // Longer than the session: the heartbeats have gone on, and the rung still rests.
    const end = Date.now() + 7_000;
    await until(() => Date.now() > end);
    await publish(adapter, [message(topology, 'new')]);
    await until(() => got.length === 4);
    expect(revoked).toEqual([]);
    expect(await adapter.backlog(topology, 'billing')).toMatchObject({ delayed: 1 });
    await source.stop();
  });

  it('survive a consumer that stops before they are due, and are not early for the next one', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(adapter, [message(topology, 'x')]);
    let retriedAt = 0;
    const first = await consume(adapter, topology, { handle: keep });
    await until(() => first.got.length === 1);
    retriedAt = Date.now();
    await settle(first.source, { kind: 'retry', delivery: first.got[0]!, delayMs: 2_000, marks: { attempts: '1' } });
    await first.source.stop();
    const other = await connect();
    const second = await consume(other.adapter, topology);
    await until(() => second.got.length === 1);
    const took = Date.now() - retriedAt;
    expect(took).toBeGreaterThanOrEqual(2_000);
    expect(took).toBeLessThan(2_000 + LATE_MS);
    expect(second.got[0]!.message.marks).toEqual({ attempts: '1' });
  });
});

describe('delayed publishes on Kafka', () => {
  it('reach every group, not early, those due first first', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({
      partitions: 2,
      lanes: true,
      groups: [
        { name: 'billing', ordered: false },
        { name: 'board', ordered: false },
      ],
    });
    await adapter.declare(topology);
    const began = Date.now();
    const outcomes = await publish(adapter, [
      message(topology, '1400', { delayMs: 1_400, key: 'k', lane: 'low', publishedAt: 1_700_000_000_000 }),
      message(topology, '300', { delayMs: 300 }),
      message(topology, 'now'),
    ]);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['confirmed', 'confirmed', 'confirmed']);
    const at = new Map<string, number>();
    const billing = await consume(adapter, topology, {
      handle(delivery, source) {
        at.set(textOf(delivery), Date.now() - began);
        source.settle([{ kind: 'done', delivery }]);
      },
    });
    const board = await consume(adapter, topology, { group: 'board' });
    await until(() => billing.got.length === 3 && board.got.length === 3);
    expect(billing.texts()).toEqual(['now', '300', '1400']);
    expect(at.get('300')).toBeGreaterThanOrEqual(300);
    expect(at.get('1400')).toBeGreaterThanOrEqual(1_400);
    expect(at.get('1400')).toBeLessThan(1_400 + LATE_MS);
    const last = billing.got.find((one) => textOf(one) === '1400')!;
    expect(last).toMatchObject({ lane: 'low', shard: partitionOf('k', 2) });
    expect(last.message).toMatchObject({ key: 'k', publishedAt: 1_700_000_000_000, marks: {}, headers: {} });
  });

  it('are found by a consumer in another process that began before the first of them', async () => {
    const [publisher, consumer] = [await connect(), await connect()];
    const topology = topologyOf({ partitions: 1 });
    await publisher.adapter.declare(topology);
    const { got } = await consume(consumer.adapter, topology);
    expect(await publish(publisher.adapter, [message(topology, 'x', { delayMs: 200 })])).toMatchObject([
      { kind: 'confirmed' },
    ]);
    expect(await publisher.adapter.backlog(topology, 'billing')).toMatchObject({ ready: 0, delayed: 1 });
    await until(() => got.length === 1);
  });
});

describe('dead letters on Kafka', () => {
  async function withLetters(texts: readonly string[]) {
    const { adapter } = await connect();
    const topology = topologyOf({
      partitions: 2,
      lanes: true,
      groups: [
        { name: 'billing', ordered: false },
        { name: 'board', ordered: false },
      ],
    });
    await adapter.declare(topology);
    const dead = async (delivery: Delivery, source: Source) => {
      const replayed = delivery.message.marks.replayed !== undefined;
      if (replayed) await source.settle([{ kind: 'done', delivery }]);
      else await source.settle([{ kind: 'dead', delivery, marks: { reason: 'exhausted', attempts: '3' } }]);
    };
    await publish(
      adapter,
      texts.map((text) =>
        message(topology, text, { key: `k-${text}`, lane: 'low', headers: { h: 'v' }, partition: 0 }),
      ),
    );
    const consumer = await consume(adapter, topology, { handle: dead });
    await until(async () => (await adapter.deadLetters(topology, 'billing').count()) === texts.length);
    return { adapter, topology, consumer };
  }

  it('keep bytes, key, headers and marks, oldest first, and are gone from the group', async () => {
    const { adapter, topology, consumer } = await withLetters(numbers(5));
    const letters = await lettersOf(adapter, topology);
    expect(letters.map(({ message }) => Buffer.from(message.body).toString())).toEqual(numbers(5));
    expect(letters[1]).toMatchObject({
      letterId: consumer.got.find((one) => textOf(one) === 'm1')!.position,
      lane: 'low',
      message: { key: 'k-m1', headers: { h: 'v' }, marks: { reason: 'exhausted', attempts: '3' }, source: 'tests' },
    });
    expect(Math.abs(letters[1]!.deadAt! - Date.now())).toBeLessThan(60_000);
    expect(await adapter.backlog(topology, 'billing')).toMatchObject({ ready: 0, dead: 5 });
    expect(await adapter.backlog(topology, 'board')).toMatchObject({ ready: 5, dead: 0 });
  });

  it('are replayed to their own group alone, as they were', async () => {
    const { adapter, topology, consumer } = await withLetters(['a', 'b']);
    const [a] = await lettersOf(adapter, topology);
    const outcomes = await adapter.deadLetters(topology, 'billing').replay([a!], { replayed: '1' });
    expect(outcomes).toEqual(['settled']);
    await until(() => consumer.got.length === 3);
    const [original, , replayed] = consumer.got;
    expect(replayed).toMatchObject({ lane: 'low', shard: original!.shard, position: original!.position });
    expect(replayed!.message).toEqual({ ...original!.message, marks: { replayed: '1' } });
    expect((await lettersOf(adapter, topology)).map(({ message }) => message.key)).toEqual(['k-b']);
  });

  it('are replaced by edited messages, which are of the partition of their new key, or of that of the letter', async () => {
    const { adapter, topology, consumer } = await withLetters(['a', 'b']);
    const letters = await lettersOf(adapter, topology);
    const partitions = [1, undefined];
    const outcomes = await adapter.deadLetters(topology, 'billing').replace(
      letters.map((letter, index) => ({
        letter,
        message: message(topology, `edited ${index}`, { lane: 'low', partition: partitions[index] }),
        marks: { replayed: '1' },
      })),
    );
    expect(outcomes).toEqual(['settled', 'settled']);
    await until(() => consumer.got.length === 4);
    const edited = consumer.got.slice(2).map((one) => [textOf(one), one.lane, one.shard]);
    expect(edited.sort()).toEqual([
      ['edited 0', 'low', 1],
      ['edited 1', 'low', 0],
    ]);
    expect(await lettersOf(adapter, topology)).toEqual([]);
  });

  it('are discarded, and stay when a scan is left early', async () => {
    const { adapter, topology } = await withLetters(numbers(4));
    const store = adapter.deadLetters(topology, 'billing');
    for await (const page of store.scan({ pageSize: 1, signal: undefined })) {
      expect(await store.discard(page)).toEqual(['settled']);
      break;
    }
    expect(await store.count()).toBe(3);
    expect((await lettersOf(adapter, topology)).map(({ message }) => message.key)).toEqual(['k-m1', 'k-m2', 'k-m3']);
  });

  it('end a scan whose signal is aborted', async () => {
    const { adapter, topology } = await withLetters(['a', 'b']);
    const scan = adapter
      .deadLetters(topology, 'billing')
      .scan({ pageSize: 1, signal: AbortSignal.abort(new Error('enough')) });
    await expect(
      (async () => {
        for await (const _ of scan);
      })(),
    ).rejects.toThrow('enough');
  });

  it('are none where no consumer ever was', async () => {
    const { adapter } = await connect();
    const topology = topologyOf();
    await adapter.declare(topology);
    expect(await lettersOf(adapter, topology)).toEqual([]);
    expect(await adapter.deadLetters(topology, 'billing').count()).toBe(0);
    expect(await adapter.backlog(topology, 'billing')).toEqual({
      ready: 0,
      inFlight: undefined,
      delayed: 0,
      dead: 0,
      oldestAgeMs: undefined,
      exact: false,
    });
  });

  it('of a message without a key have none, and an empty body stays one', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(adapter, [message(topology, '')]);
    await consume(adapter, topology, {
      handle: (delivery, source) => void source.settle([{ kind: 'dead', delivery, marks: {} }]),
    });
    await until(async () => (await lettersOf(adapter, topology)).length === 1);
    const [letter] = await lettersOf(adapter, topology);
    expect(letter!.message.key).toBeUndefined();
    expect(letter!.message.body).toHaveLength(0);
  });

  it.each([
    ['dead', 'dead:copy-confirmed'],
    ['retry', 'settle:copy-confirmed'],
  ] as const)(
    'Trap 43: lose nothing when the copy (%s) is confirmed and the process dies before the original is settled',
    async (kind, point) => {
      const reached = Promise.withResolvers<void>();
      const crashPoint = (name: string): Promise<void> | undefined => {
        if (name !== point) return undefined;
        reached.resolve();
        return new Promise<void>(() => {});
      };
      const dying = await connect({ requestTimeoutMs: 1_000 }, { crashPoint });
      const topology = topologyOf({ partitions: 1 });
      await dying.adapter.declare(topology);
      await publish(dying.adapter, [message(topology, 'x')]);
      await consume(dying.adapter, topology, {
        handle: (delivery, source) =>
          void source.settle([
            kind === 'dead'
              ? { kind, delivery, marks: {} }
              : { kind, delivery, marks: { attempts: '1' }, delayMs: 600_000 },
          ]),
      });
      await reached.promise;
      const { ready, dead, delayed } = await dying.adapter.backlog(topology, 'billing');
      expect({ ready, dead, delayed }).toEqual({
        ready: 1,
        dead: kind === 'dead' ? 1 : 0,
        delayed: kind === 'retry' ? 1 : 0,
      });
    },
  );
});

describe('lanes on Kafka', () => {
  it('give each lane its own prefetch, retries included', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ lanes: true, partitions: 1 });
    await adapter.declare(topology);
    await publish(
      adapter,
      lanes.flatMap((lane) => numbers(5, lane).map((text) => message(topology, text, { lane }))),
    );
    const { source, got } = await consume(adapter, topology, { prefetch: 2, handle: keep });
    await until(() => got.length === 6);
    const low = got.find(({ lane }) => lane === 'low')!;
    await settle(source, { kind: 'retry', delivery: low, delayMs: 0, marks: { attempts: '1' } });
    await until(() => got.length === 7);
    expect(got[6]!.lane).toBe('low');
    expect(got.filter(({ lane }) => lane === 'high')).toHaveLength(2);
  });
});
