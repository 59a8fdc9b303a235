import { describe, expect, it } from 'vitest';
import { rateLimit } from '../../../src/policy/rate.ts';

describe('rateLimit', () => {
  it('spaces starts evenly', () => {
    const rate = rateLimit(10);
    expect(rate.take(0)).toBe(0);
    expect(rate.take(0)).toBe(100);
    expect(rate.take(60)).toBe(40);
    expect(rate.take(100)).toBe(0);
    expect(rate.take(150)).toBe(50);
  });

  it('saves nothing up while nobody starts', () => {
    const rate = rateLimit(10);
    rate.take(0);
    expect(rate.take(5_000)).toBe(0);
    expect(rate.take(5_000)).toBe(100);
  });

  it('tells the wait without taking', () => {
    const rate = rateLimit(10);
    expect([rate.waitMs(0), rate.waitMs(0)]).toEqual([0, 0]);
    rate.take(0);
    expect(rate.waitMs(30)).toBe(70);
  });

  it('is no limit where none is given', () => {
    const rate = rateLimit(undefined);
    for (let n = 0; n < 100; n += 1) expect(rate.take(0)).toBe(0);
  });
});
