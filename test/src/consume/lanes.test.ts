import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_WEIGHTS, LANES, lanePicker } from '../../../src/consume/lanes.ts';

const weight = fc.integer({ min: 1, max: 100 });
const weights = fc.record({ high: weight, normal: weight, low: weight });

describe('lanePicker', () => {
  it('G6: over a full round each lane gets exactly its weight', () => {
    fc.assert(
      fc.property(weights, (weights) => {
        const pick = lanePicker(weights);
        const total = weights.high + weights.normal + weights.low;
        const counts = { high: 0, normal: 0, low: 0 };
        for (let n = 0; n < total; n += 1) counts[pick(() => true)!] += 1;
        expect(counts).toEqual(weights);
      }),
    );
  });

  it('G6: no ready lane waits longer than one round', () => {
    fc.assert(
      fc.property(
        weights,
        fc.array(fc.subarray([...LANES], { minLength: 1 }), { maxLength: 300 }),
        (weights, readiness) => {
          const pick = lanePicker(weights);
          const total = weights.high + weights.normal + weights.low;
          const waited = { high: 0, normal: 0, low: 0 };
          for (const ready of readiness) {
            const lane = pick((each) => ready.includes(each))!;
            expect(ready).toContain(lane);
            for (const each of LANES) waited[each] = each === lane || !ready.includes(each) ? 0 : waited[each] + 1;
            for (const each of LANES) expect(waited[each]).toBeLessThanOrEqual(2 * total);
          }
        },
      ),
    );
  });

  it('takes what there is when only one lane has anything, and nothing when none has', () => {
    const pick = lanePicker(DEFAULT_WEIGHTS);
    for (let n = 0; n < 10; n += 1) expect(pick((lane) => lane === 'low')).toBe('low');
    expect(pick(() => false)).toBeUndefined();
    expect(pick(() => true)).toBe('high');
  });

  it('a lane that was idle has saved nothing up: it does not flood the others when it comes back', () => {
    const pick = lanePicker({ high: 1, normal: 1, low: 1 });
    for (let n = 0; n < 1_000; n += 1) pick((lane) => lane !== 'low');
    const next = Array.from({ length: 9 }, () => pick(() => true));
    expect(next.filter((lane) => lane === 'low')).toHaveLength(3);
  });
});
