import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fifo } from '../../../src/consume/fifo.ts';

it('behaves like an array, whatever is done to it', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('push' as const), n: fc.nat(9) }),
    fc.record({ do: fc.constant('unshift' as const), n: fc.nat(9) }),
    fc.record({ do: fc.constant('shift' as const), n: fc.constant(0) }),
    fc.record({ do: fc.constant('remove' as const), n: fc.nat(9) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const actual = fifo<number>();
      let model: number[] = [];
      for (const { do: what, n } of steps) {
        if (what === 'push') {
          actual.push(n);
          model.push(n);
        } else if (what === 'unshift') {
          actual.unshift(n);
          model.unshift(n);
        } else if (what === 'shift') expect(actual.shift()).toBe(model.shift());
        else {
          actual.remove((item) => item === n);
          model = model.filter((item) => item !== n);
        }
        expect(actual.size).toBe(model.length);
      }
      expect(Array.from({ length: actual.size }, () => actual.shift())).toEqual(model);
      expect(actual.shift()).toBeUndefined();
    }),
  );
});

it('keeps a hundred thousand in order', () => {
  const queue = fifo<number>();
  for (let n = 0; n < 100_000; n += 1) queue.push(n);
  let inOrder = 0;
  for (let n = 0; n < 100_000; n += 1) inOrder += queue.shift() === n ? 1 : 0;
  expect([inOrder, queue.size]).toEqual([100_000, 0]);
});
