import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { BatchAnswer } from '../../adapters/kafka/client.ts';
import type { Context } from '../../adapters/kafka/context.ts';
import { settler } from '../../adapters/kafka/settle.ts';
import { append, type Entry, newShare } from '../../adapters/kafka/share.ts';
import type { Delivery, Subscription } from '../../src/port.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A settler whose first copy fails, and one delivery that is out. */
function scene(ordered: boolean) {
  const answers: BatchAnswer[] = [
    { stored: 'no', error: new Error('not enough replicas') } as BatchAnswer,
    { stored: 'yes' } as BatchAnswer,
  ];
  const handedOut = vi.fn();
  const context = {
    settings: { requestTimeoutMs: 1_000 },
    topology: { batchBytes: () => 1_000_000 },
    hooks: { emit: () => undefined, crashPoint: undefined },
    sender: { send: async () => [answers.shift()!] },
  } as unknown as Context;
  const subscription = {
    topology: { topic: 't', groups: [{ name: 'g', ordered }], partitions: 1, lanes: false },
    group: 'g',
    ordered,
  } as unknown as Subscription;
  const ended = vi.fn();
  const settle = settler(context, subscription, { ended, handOut: handedOut });
  const share = newShare({ topic: 't', partition: 0 }, undefined);
  append(share, [{ offset: 0, key: null, value: Buffer.from('x'), headers: {}, timestamp: 0 } as never], 1);
  const entry: Entry = share.queue.shift()!;
  const delivery = {
    lane: 'normal',
    shard: 0,
    epoch: share.epoch,
    position: 't/0/0',
    handle: entry,
  } as unknown as Delivery;
  entry.delivery = delivery;
  return { settle, share, entry, delivery, ended };
}

it('G5: in an ordered group a dead letter whose copy failed is copied again, and its key waits', async () => {
  const { settle, share, entry, delivery } = scene(true);
  const settled = settle.settle([{ kind: 'dead', delivery, marks: {} }]);
  await vi.advanceTimersByTimeAsync(0);
  expect(share.queue, 'it is not handed out again').toEqual([]);
  expect(entry.done).toBe(false);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await settled).toEqual(['settled']);
  expect(entry.done).toBe(true);
});

it('in an ordered group, closing ends the waiting: it comes again after the next start', async () => {
  const { settle, entry, delivery } = scene(true);
  const settled = settle.settle([{ kind: 'dead', delivery, marks: {} }]);
  await vi.advanceTimersByTimeAsync(0);
  await settle.close();
  expect(await settled).toEqual(['unknown']);
  expect(entry.done).toBe(false);
});

it('in an unordered group it is handed out again after a while, and counts against the prefetch until then', async () => {
  const { settle, share, delivery, ended } = scene(false);
  expect(await settle.settle([{ kind: 'dead', delivery, marks: {} }])).toEqual(['unknown']);
  expect(share.queue).toEqual([]);
  expect(ended).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(share.queue).toHaveLength(1);
  expect(ended).toHaveBeenCalledOnce();
});

it('neither is it handed out, nor does it count any more, where its partition has moved meanwhile', async () => {
  const { settle, share, delivery, ended } = scene(false);
  await settle.settle([{ kind: 'dead', delivery, marks: {} }]);
  share.live = false;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(share.queue).toEqual([]);
  expect(ended).toHaveBeenCalledOnce();
});
