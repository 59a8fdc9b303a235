import { expect, it } from 'vitest';
import type { BatchAnswer, KafkaRecord, PartitionBatch } from '../../adapters/kafka/client.ts';
import { brokerClock } from '../../adapters/kafka/clock.ts';
import type { Context } from '../../adapters/kafka/context.ts';
import { sizeOf } from '../../adapters/kafka/headers.ts';
import { watchRungs } from '../../adapters/kafka/rest.ts';
import { append, newShare } from '../../adapters/kafka/share.ts';
import { until } from './kafka-fixture.ts';

const MOST_BYTES = 10_000;

it('what has longer to wait goes down a rung in batches that its topic takes, however much has piled up', async () => {
  const now = 1_000_000;
  const sent: PartitionBatch[] = [];
  const context = {
    settings: { requestTimeoutMs: 1_000 },
    topology: { batchBytes: () => MOST_BYTES },
    hooks: { emit: () => undefined, crashPoint: undefined },
    clock: { now: () => now, sure: () => true },
    sender: {
      async send(batches: readonly PartitionBatch[]): Promise<BatchAnswer[]> {
        sent.push(...batches);
        return batches.map(() => ({ stored: 'yes', offset: 0, appendedAt: undefined }));
      },
    },
  } as unknown as Context;
  const share = newShare({ topic: 'ladder', partition: 3 }, 3);
  // On the rung of 5 s since 6 s, to wait for 8 s in all: nobody was there to move them on in time.
  const record = (offset: number): KafkaRecord => ({
    offset,
    timestamp: now - 6_000,
    key: null,
    value: Buffer.alloc(3_000),
    headers: { 'hf-id': Buffer.from(String(offset)), 'hf-k-wait': Buffer.from('8000') },
  });
  append(
    share,
    Array.from({ length: 20 }, (_, offset) => record(offset)),
    20,
  );
  watchRungs(
    context,
    'ladder',
    () => undefined,
    () => undefined,
  ).look(share);
  await until(() => share.track.every(({ done }) => done));
  const bytes = sent.map(({ records }) => records.reduce((sum, one) => sum + sizeOf(one), 0));
  expect(Math.max(...bytes)).toBeLessThanOrEqual(MOST_BYTES);
  expect(sent.flatMap(({ records }) => records.map(({ headers }) => String(headers['hf-id'])))).toEqual(
    Array.from({ length: 20 }, (_, offset) => String(offset)),
  );
  expect(new Set(sent.map(({ topic, partition }) => `${topic}/${partition}`))).toEqual(new Set(['ladder/2']));
});

it('Trap 49: what rests is asked about by the broker’s clock before anything is released, however far ahead ours is', async () => {
  const brokersNow = 1_000_000;
  const clock = brokerClock(
    () => 0,
    () => brokersNow + 3_600_000,
  );
  const sent: PartitionBatch[] = [];
  const context = {
    settings: { requestTimeoutMs: 1_000 },
    hooks: { emit: () => undefined, crashPoint: undefined },
    clock,
    sender: {
      async send(batches: readonly PartitionBatch[]): Promise<BatchAnswer[]> {
        sent.push(...batches);
        clock.observe(brokersNow, true);
        return batches.map(() => ({ stored: 'yes', offset: 0, appendedAt: brokersNow }));
      },
    },
  } as unknown as Context;
  const share = newShare({ topic: 'ladder', partition: 3 }, 3);
  const record = (offset: number, timestamp: number): KafkaRecord => ({
    offset,
    timestamp,
    key: null,
    value: Buffer.from('x'),
    headers: { 'hf-k-wait': Buffer.from('5000') },
  });
  append(share, [record(0, brokersNow - 5_000), record(1, brokersNow - 1_000)], 2);
  const ready: number[] = [];
  const resting = watchRungs(
    context,
    'ladder',
    () => undefined,
    ({ queue }) => ready.push(...queue.splice(0).map(({ offset }) => offset)),
  );
  resting.look(share);
  expect(ready).toEqual([]);
  await until(() => ready.length > 0);
  expect(ready).toEqual([0]);
  expect(share.resting.map(({ offset }) => offset)).toEqual([1]);
  expect(sent.map(({ records }) => Object.keys(records[0]!.headers))).toEqual([['hf-k-probe']]);
  resting.close();
});
