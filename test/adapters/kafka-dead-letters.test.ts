import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { KafkaRecord, NewRecord } from '../../adapters/kafka/client.ts';
import { type Lock, openLock } from '../../adapters/kafka/dead-letter-lock.ts';
import type { Log } from '../../adapters/kafka/dead-letter-log.ts';
import type { BrokerAdapter, Delivery, Source, StoredLetter, Topology } from '../../src/port.ts';
import { connect, consume, lettersOf, message, numbers, publish, topologyOf, until } from './kafka-fixture.ts';

/** A topic whose messages all die, as often as they come; of which `count` are dead. */
async function withLetters(adapter: BrokerAdapter, count: number): Promise<Topology> {
  const topology = topologyOf({ partitions: 1 });
  await adapter.declare(topology);
  const dies = (delivery: Delivery, source: Source): void =>
    void source.settle([{ kind: 'dead', delivery, marks: { ...delivery.message.marks, reason: 'bad' } }]);
  await consume(adapter, topology, { handle: dies });
  await publish(
    adapter,
    numbers(count).map((text) => message(topology, text, { key: text })),
  );
  await until(async () => (await adapter.deadLetters(topology, 'billing').count()) === count);
  return topology;
}

async function firstOf(scan: AsyncIterator<readonly StoredLetter[]>): Promise<readonly StoredLetter[]> {
  const { value } = await scan.next();
  return value as readonly StoredLetter[];
}
const open = (adapter: BrokerAdapter, topology: Topology): AsyncIterator<readonly StoredLetter[]> =>
  adapter.deadLetters(topology, 'billing').scan({ pageSize: 1, signal: undefined })[Symbol.asyncIterator]();

describe('dead letters on Kafka', () => {
  it('that die again before the old letter is removed are letters still', async () => {
    let diedAgain = false;
    const { adapter: other } = await connect();
    const { adapter } = await connect(
      {},
      {
        async crashPoint(name) {
          if (name !== 'replay:copy-confirmed') return;
          await until(async () =>
            (await lettersOf(other, topology)).some(({ message }) => message.marks.replay === '1'),
          );
          diedAgain = true;
        },
      },
    );
    const topology = await withLetters(other, 2);
    const [letter] = await lettersOf(adapter, topology);
    expect(await adapter.deadLetters(topology, 'billing').replay([letter!], { replay: '1' })).toEqual(['settled']);
    expect(diedAgain).toBe(true);
    const left = await lettersOf(adapter, topology);
    expect(left.map(({ message }) => message.key)).toEqual(['m1', 'm0']);
    expect(left[1]!.letterId).not.toBe(letter!.letterId);
  });

  it('S29: are moved by one at a time, and what the other has moved is stale', async () => {
    const [{ adapter: one }, { adapter: two }] = [await connect(), await connect()];
    const topology = await withLetters(one, 3);
    const [first, second] = [open(one, topology), open(two, topology)];
    const [page, samePage] = [await firstOf(first), await firstOf(second)];
    const [mine, theirs] = [one, two].map((adapter) => adapter.deadLetters(topology, 'billing'));
    expect(await mine!.discard(page)).toEqual(['settled']);
    await expect(theirs!.discard(samePage)).rejects.toMatchObject({ adapterCode: 'busy' });
    await expect(theirs!.replay(samePage, {})).rejects.toMatchObject({ adapterCode: 'busy' });
    expect(await mine!.discard(await firstOf(first))).toEqual(['settled']);
    await first.return?.();
    expect(await theirs!.discard(samePage)).toEqual(['stale']);
    expect(await theirs!.discard(await firstOf(second))).toEqual(['stale']);
    expect(await theirs!.discard(await firstOf(second))).toEqual(['settled']);
    await second.return?.();
    expect(await theirs!.count()).toBe(0);
  });

  it('are free again when the process that moved them has died', async () => {
    const [{ adapter: dying }, { adapter: next }] = [await connect(), await connect()];
    const topology = await withLetters(next, 2);
    const scan = open(dying, topology);
    expect(await dying.deadLetters(topology, 'billing').discard(await firstOf(scan))).toEqual(['settled']);
    await dying.close();
    const [letter] = await lettersOf(next, topology);
    expect(await next.deadLetters(topology, 'billing').discard([letter!])).toEqual(['settled']);
    expect(await next.deadLetters(topology, 'billing').count()).toBe(0);
  });
});

/** A log in memory, and how often it was written. */
function memoryLog(): Log & { readonly records: KafkaRecord[] } {
  const records: KafkaRecord[] = [];
  return {
    records,
    span: async () => ({ from: 0, to: records.length }),
    async *read({ from, to }) {
      yield* records.slice(from, to);
    },
    async append(batch: readonly NewRecord[]) {
      for (const { key, value } of batch) {
        const headers = Object.create(null) as Record<string, Uint8Array>;
        records.push({ offset: records.length, timestamp: Date.now(), key: Buffer.from(key!), value, headers });
      }
      return batch.map(() => true);
    },
  };
}

describe('the lock of dead letters on Kafka', () => {
  beforeEach(
    () => void vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'] }),
  );
  afterEach(() => void vi.useRealTimers());
  const outcome = (lock: Lock): Promise<string> =>
    lock.hold().then(
      () => 'held',
      (error: { adapterCode?: string }) => error.adapterCode ?? String(error),
    );

  it('is held by the first of several who want it at once', async () => {
    const log = memoryLog();
    const locks = Array.from({ length: 4 }, () => openLock(log, 0, 'x'));
    const outcomes = Promise.all(locks.map(outcome));
    await vi.advanceTimersByTimeAsync(15_000);
    expect((await outcomes).sort()).toEqual(['busy', 'busy', 'busy', 'held']);
  });

  it('goes to whoever waited when it is released', async () => {
    const log = memoryLog();
    const [one, two] = [openLock(log, 0, 'x'), openLock(log, 0, 'x')];
    expect(await outcome(one)).toBe('held');
    const waiting = outcome(two);
    await vi.advanceTimersByTimeAsync(300);
    await one.release();
    await vi.advanceTimersByTimeAsync(300);
    expect(await waiting).toBe('held');
  });

  it('is taken from a process that stands still, which notices before it goes on', async () => {
    const log = memoryLog();
    const honest = log.append;
    let stopped = false;
    const [one, two] = [
      openLock({ ...log, append: (records) => (stopped ? Promise.resolve([false]) : honest(records)) }, 0, 'x'),
      openLock(log, 0, 'x'),
    ];
    expect(await outcome(one)).toBe('held');
    stopped = true;
    const waiting = outcome(two);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(await Promise.race([waiting, 'waits'])).toBe('waits');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await waiting).toBe('held');
    stopped = false;
    expect(await outcome(one)).toBe('busy');
    expect(await outcome(two)).toBe('held');
  });

  it('is kept for as long as it is repeated, and leaves nothing behind', async () => {
    const log = memoryLog();
    const [one, two] = [openLock(log, 0, 'x'), openLock(log, 0, 'x')];
    expect(await outcome(one)).toBe('held');
    await vi.advanceTimersByTimeAsync(60_000);
    const waiting = outcome(two);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(await waiting).toBe('busy');
    expect(await outcome(one)).toBe('held');
    await one.release();
    const last = new Map(log.records.map(({ key, value }) => [key!.toString(), value]));
    expect([...last.values()]).toEqual([null, null]);
  });
});
