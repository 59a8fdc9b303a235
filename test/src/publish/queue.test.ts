import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Outgoing } from '../../../src/port.ts';
import { orderedQueue, type Pending, unorderedQueue } from '../../../src/publish/queue.ts';

let ids = 0;
function pending(key: string, partition = 0, bytes = 10): Pending {
  ids += 1;
  return {
    outgoing: { id: String(ids), key, partition } as Outgoing,
    topic: undefined,
    deadline: 0,
    dueAt: 0,
    bytes,
    maybeStored: false,
    confirmed: false,
    inFlight: false,
    writing: false,
    admitted: true,
    forget: undefined,
    answered: false,
    left: false,
    spilled: false,
    lastError: undefined,
    resolve: () => undefined,
    reject: () => undefined,
  };
}
const roomy = { batchMessages: 100, batchBytes: 1_000_000 };

describe.each(['key', 'partition'] as const)('orderedQueue by %s', (exclusive) => {
  it('S9: each unit is in flight once, its messages leave in order, and none stays behind', () => {
    const message = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), bytes: fc.integer({ min: 1, max: 50 }) });
    const step = fc.oneof(
      fc.record({ do: fc.constant('add' as const), message }),
      fc.constant({ do: 'take' as const }),
      fc.constant({ do: 'release' as const }),
    );
    const limits = fc.record({
      batchMessages: fc.integer({ min: 1, max: 5 }),
      batchBytes: fc.integer({ min: 1, max: 120 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), limits, (steps, limits) => {
        const queue = orderedQueue(exclusive);
        const unitOf = ({ outgoing }: Pending): string | number =>
          exclusive === 'key' ? outgoing.key! : outgoing.partition!;
        const model = new Map<string | number, Pending[]>();
        const flying: Pending[][] = [];
        const take = (): boolean => {
          const batch = queue.take(limits);
          expect(batch.length).toBeLessThanOrEqual(limits.batchMessages);
          if (batch.length > 1)
            expect(batch.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(limits.batchBytes);
          const busy = new Set(flying.flat().map(unitOf));
          for (const each of batch) {
            expect(busy.has(unitOf(each))).toBe(false);
            expect(model.get(unitOf(each))!.shift()).toBe(each);
          }
          if (exclusive === 'key') expect(new Set(batch.map(unitOf)).size).toBe(batch.length);
          if (batch.length > 0) flying.push(batch);
          return batch.length > 0;
        };
        const release = (): void => {
          const batch = flying.shift();
          if (batch !== undefined) queue.release(batch);
        };
        for (const each of steps) {
          if (each.do === 'add') {
            const added = pending(each.message.key, each.message.key === 'a' ? 0 : 1, each.message.bytes);
            model.set(unitOf(added), [...(model.get(unitOf(added)) ?? []), added]);
            queue.add(added);
          } else if (each.do === 'take') take();
          else release();
          expect(queue.size).toBe([...model.values()].flat().length);
        }
        for (let turns = 0; queue.size > 0 || flying.length > 0; turns += 1) {
          expect(turns).toBeLessThan(1_000);
          release();
          while (take());
        }
      }),
    );
  });

  it('passes over what has its answer already', () => {
    const queue = orderedQueue(exclusive);
    const [late, next] = [pending('a'), pending('a')];
    queue.add(late);
    queue.add(next);
    late.left = true;
    expect(queue.take(roomy)).toEqual([next]);
    queue.release([next]);
    expect(queue.take(roomy)).toEqual([]);
    expect(queue.size).toBe(0);
  });
});

describe('unorderedQueue', () => {
  it('batches within its limits; what is alone may be larger than they are', () => {
    const queue = unorderedQueue();
    const list = [pending('a', 0, 500), pending('a', 0, 40), pending('a', 0, 40), pending('a', 0, 40)];
    for (const each of list) queue.add(each);
    const limits = { batchMessages: 10, batchBytes: 100 };
    expect([queue.take(limits), queue.take(limits), queue.take(limits), queue.take(limits)]).toEqual([
      [list[0]],
      [list[1], list[2]],
      [list[3]],
      [],
    ]);
  });
});
