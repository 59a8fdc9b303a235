import { describe, expect, it } from 'vitest';
import { checkOptions, count, durationMs, describe as inWords, nearest, oneOf, positiveMs } from '../../src/options.ts';

describe('checkOptions', () => {
  it('names every wrong option at once, with what was received and the nearest name', () => {
    const check = (): void =>
      checkOptions(
        'publish',
        { delyMs: 1, timeoutMs: 0, priority: 'urgent' },
        {
          delayMs: durationMs,
          timeoutMs: positiveMs,
          priority: oneOf('high', 'low'),
        },
      );
    expect(check).toThrow(TypeError);
    expect(check).toThrow(
      /"delyMs" is not an option; did you mean "delayMs"\?.*"timeoutMs" must be .* received 0.*"priority" must be one of 'high', 'low', received "urgent"/,
    );
  });

  it('takes undefined for an option that is not there', () => {
    checkOptions('publish', { delayMs: undefined }, { delayMs: durationMs });
  });

  it('is not fooled by names that every object has', () => {
    expect(() => checkOptions('publish', { constructor: 1 }, {})).toThrow(/"constructor" is not an option/);
    expect(() => checkOptions('publish', null, {})).toThrow(/received null/);
    expect(() => checkOptions('publish', [], {})).toThrow(/received an array of 0/);
  });

  it.each([
    [durationMs, 0, true],
    [durationMs, 2 ** 31, false],
    [durationMs, Number.NaN, false],
    [durationMs, '5', false],
    [positiveMs, 0, false],
    [count(1, 10), 10, true],
    [count(1, 10), 11, false],
    [count(1), 1.5, false],
  ])('%o of %j', (check, value, fine) => {
    expect(check(value) === undefined).toBe(fine);
  });

  it('shows no long text, which may be a secret', () => {
    expect(inWords('x'.repeat(100))).toBe('a string of 100 characters');
    expect(inWords({ password: 'p' })).toBe('an object (Object)');
  });

  it('guesses only what is near', () => {
    expect(nearest('concurency', ['concurrency', 'prefetch'])).toBe('concurrency');
    expect(nearest('zzz', ['concurrency', 'prefetch'])).toBeUndefined();
  });
});
