import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { orderedSchedule, unorderedSchedule } from '../../../src/consume/order.ts';
import { type Work, workFor } from '../../../src/consume/work.ts';
import type { Priority } from '../../../src/port.ts';
import { deliveryOf } from '../fake-adapter.ts';

let positions = 0;
function work(key: string | undefined, lane: Priority = 'normal', epoch = 1): Work {
  positions += 1;
  return workFor(deliveryOf(positions, { lane, epoch, message: { key } }));
}

describe('orderedSchedule', () => {
  it('G5: each key one at a time and in order, whatever comes, ends and fails in between', () => {
    const step = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('add' as const), key: fc.constantFrom('a', 'b', 'c', 'd') }),
      },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('next' as const), key: fc.constant('') }) },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('free' as const), key: fc.constantFrom('a', 'b', 'c', 'd') }),
      },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const schedule = orderedSchedule();
        const waiting = new Map<string, Work[]>();
        const running = new Map<string, Work>();
        for (const { do: what, key } of steps) {
          if (what === 'add') {
            const added = work(key);
            schedule.add(added);
            waiting.set(key, [...(waiting.get(key) ?? []), added]);
          } else if (what === 'free') {
            const done = running.get(key);
            if (done === undefined) continue;
            running.delete(key);
            schedule.free(done);
          } else {
            const next = schedule.next('normal');
            const eligible = [...waiting].filter(([each, list]) => list.length > 0 && !running.has(each));
            if (next === undefined) expect(eligible).toEqual([]);
            else {
              const nextKey = next.delivery.message.key!;
              expect(running.has(nextKey)).toBe(false);
              expect(waiting.get(nextKey)!.shift()).toBe(next);
              running.set(nextKey, next);
            }
          }
          expect(schedule.waiting).toBe([...waiting.values()].flat().length);
        }
      }),
    );
  });

  it('messages without a key wait for nobody', () => {
    const schedule = orderedSchedule();
    const list = [work(undefined), work(undefined)];
    for (const each of list) schedule.add(each);
    expect([schedule.next('normal'), schedule.next('normal')]).toEqual(list);
  });

  it('an empty key is a key, and a key never meets one of another lane', () => {
    const schedule = orderedSchedule();
    const [first, second, high] = [work(''), work(''), work('', 'high')];
    for (const each of [first, second, high]) schedule.add(each);
    expect([schedule.next('high'), schedule.next('normal'), schedule.next('normal')]).toEqual([high, first, undefined]);
    schedule.free(first);
    expect(schedule.next('normal')).toBe(second);
  });

  it('forgets what a lost epoch had waiting, and its keys go on with the next one', () => {
    const schedule = orderedSchedule();
    const lost = [work('a'), work('a'), work('b')];
    for (const each of lost) schedule.add(each);
    expect(schedule.next('normal')).toBe(lost[0]);
    schedule.drop(({ delivery }) => delivery.epoch === 1);
    expect(schedule.waiting).toBe(0);
    const again = [work('a', 'normal', 2), work('b', 'normal', 2)];
    for (const each of again) schedule.add(each);
    // The lost one of `a` is still being handled.
    expect([schedule.next('normal'), schedule.next('normal')]).toEqual([again[1], undefined]);
    schedule.free(lost[0]!);
    expect(schedule.next('normal')).toBe(again[0]);
  });
});

describe('unorderedSchedule', () => {
  it('first come, first served within a lane, and all lanes counted', () => {
    const schedule = unorderedSchedule();
    const list = [work('a'), work('a'), work('a', 'low')];
    for (const each of list) schedule.add(each);
    expect(schedule.waiting).toBe(3);
    expect([schedule.has('high'), schedule.has('normal'), schedule.has('low')]).toEqual([false, true, true]);
    const next = [schedule.next('normal'), schedule.next('normal'), schedule.next('low'), schedule.next('normal')];
    expect(next).toEqual([...list, undefined]);
  });

  it('drops what matches, in every lane', () => {
    const schedule = unorderedSchedule();
    for (const lane of ['high', 'normal', 'low'] as const) schedule.add(work('a', lane, lane === 'low' ? 2 : 1));
    schedule.drop(({ delivery }) => delivery.epoch === 1);
    expect(schedule.waiting).toBe(1);
    expect(schedule.next('normal')).toBeUndefined();
    expect(schedule.next('low')?.delivery.lane).toBe('low');
  });
});
