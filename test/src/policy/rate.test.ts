import { describe, expect, it } from 'vitest';
import { groupRates, rateLimit } from '../../../src/policy/rate.ts';

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

describe('groupRates', () => {
  it('consumers of a group take turns, and together keep its rate', () => {
    const rates = groupRates();
    const [a, b] = [rates.join('g', 10), rates.join('g', undefined)];
    expect(a.take(0)).toBe(0);
    expect([a.waitMs(0), b.waitMs(0)]).toEqual([100, 100]);
    expect(a.take(100)).toBe(0);
    // `a` comes first again, but it is the turn of `b`.
    a.waitMs(100);
    expect(a.take(200)).toBe(20);
    expect(b.take(205)).toBe(0);
    expect(a.waitMs(205)).toBe(95);
  });

  it('a turn that nobody takes lapses', () => {
    const rates = groupRates();
    const [a, b] = [rates.join('g', 10), rates.join('g', 10)];
    a.take(0);
    b.waitMs(0);
    expect(a.take(100)).toBe(20);
    expect(a.take(120)).toBe(0);
    expect(a.take(120)).toBe(80);
  });

  it('the lowest holds while its consumer is there', () => {
    const rates = groupRates();
    const [slow, fast] = [rates.join('g', 1), rates.join('g', 100)];
    fast.take(0);
    expect(fast.waitMs(0)).toBe(1_000);
    slow.leave();
    fast.take(1_000);
    expect(fast.waitMs(1_000)).toBe(10);
    expect(rates.join('other', undefined).take(0)).toBe(0);
  });

  it('a start that is late by a timer is caught up with, one that is later is not', () => {
    const rate = rateLimit(1_000);
    rate.take(0);
    expect([rate.take(4), rate.take(4), rate.take(4), rate.take(4), rate.take(4)]).toEqual([0, 0, 0, 0, 1]);
    expect([rate.take(50), rate.take(50)]).toEqual([0, 1]);
  });
});
