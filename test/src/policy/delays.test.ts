import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exponential, fixed } from '../../../src/index.ts';
import { nextStep, retryPlan, wholeMs } from '../../../src/policy/delays.ts';

describe('delays', () => {
  it('S17: attempts are (1 + immediate) × (1 + delays) in all, a delay after each round', () => {
    fc.assert(
      fc.property(fc.nat(4), fc.array(fc.nat(1_000), { maxLength: 4 }), (retries, delays) => {
        const plan = retryPlan({ immediate: { retries }, delays });
        const steps = Array.from({ length: plan.maxAttempts }, (_, index) => nextStep(plan, index + 1));
        expect(plan.maxAttempts).toBe((1 + retries) * (1 + delays.length));
        expect(steps.flatMap((step) => (step.kind === 'delay' ? [step.delayMs] : []))).toEqual(delays);
        expect(steps.filter(({ kind }) => kind === 'immediate')).toHaveLength(retries * (1 + delays.length));
        expect(steps.findIndex(({ kind }) => kind === 'exhausted')).toBe(plan.maxAttempts - 1);
      }),
    );
  });

  it('by default: two at once, then after 5 s, 1 min and 10 min, each again with two at once', () => {
    const plan = retryPlan();
    expect(plan.maxAttempts).toBe(12);
    expect([3, 6, 9].map((attempts) => nextStep(plan, attempts))).toEqual(
      [5_000, 60_000, 600_000].map((delayMs) => ({ kind: 'delay', delayMs })),
    );
  });

  it('what was counted under a longer policy is exhausted under a shorter one', () => {
    expect(nextStep(retryPlan({ immediate: { retries: 0 }, delays: [] }), 7)).toEqual({ kind: 'exhausted' });
  });

  it('exponential grows by its factor up to its cap, and jitter only takes off', () => {
    const plain = exponential({ firstMs: 100, factor: 3, maxMs: 1_000, times: 5 });
    expect([1, 2, 3, 4, 5].map(plain.delayMs)).toEqual([100, 300, 900, 1_000, 1_000]);
    const jittered = exponential({ firstMs: 100, factor: 3, maxMs: 1_000, times: 5, jitter: 0.5 });
    for (let n = 0; n < 200; n += 1) {
      const delayMs = jittered.delayMs(2);
      expect(delayMs >= 150 && delayMs <= 300).toBe(true);
    }
  });

  it('fixed is fixed', () => {
    const delays = fixed({ delayMs: 7, times: 2 });
    expect([delays.times, delays.delayMs(1), delays.delayMs(2)]).toEqual([2, 7, 7]);
  });

  it.each([
    [1.2, 2],
    [0, 0],
    [-5, 0],
    [Number.NaN, 0],
    [Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER],
  ])('%d becomes %d whole milliseconds', (ms, whole) => {
    expect(wholeMs(ms)).toBe(whole);
  });
});
