import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deadMarks, readProgress, retryMarks } from '../../../src/consume/marks.ts';
import type { Delivery } from '../../../src/port.ts';

const delivery = { position: 'orders/3/17', message: { marks: {} } } as Delivery;
const failure = (error: unknown, reason = 'failed') => ({
  reason,
  error,
  group: 'g',
  attempts: 3,
  firstFailedAt: 1_000,
});

describe('marks', () => {
  it('progress comes back as it was written', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (attempts, firstFailedAt) => {
        expect(readProgress(retryMarks({ attempts, firstFailedAt }, 5))).toEqual({ attempts, firstFailedAt });
      }),
    );
    expect(readProgress(retryMarks({ attempts: 1, firstFailedAt: undefined }, 5))).toEqual({
      attempts: 1,
      firstFailedAt: 5,
    });
  });

  it('what others wrote there is no progress', () => {
    for (const attempts of ['', 'x', '-1', '1.5', '9e99', 'NaN']) expect(readProgress({ attempts }).attempts).toBe(0);
    expect(readProgress({})).toEqual({ attempts: 0, firstFailedAt: undefined });
  });

  it('a dead letter’s marks are plain, bounded text without passwords, whatever was thrown', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 3_000 }), fc.anything()), (thrown) => {
        const marks = deadMarks(
          failure(
            typeof thrown === 'string' ? new Error(`redis://u:hidden@h ${thrown}`) : thrown,
            String(typeof thrown),
          ),
          delivery,
          2_000,
        );
        for (const value of Object.values(marks)) {
          expect(value.isWellFormed()).toBe(true);
          // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the promise
          expect(value).not.toMatch(/[\u0000-\u001f\u007f]/);
          expect(value).not.toContain('hidden');
          expect(Buffer.byteLength(value)).toBeLessThanOrEqual(4_096);
        }
      }),
    );
  });

  it('the run of a replay stays on what it sent, through retries and into the next letter', () => {
    const replayed = {
      position: 'orders/3/17',
      message: { marks: { replay: '17', begun: '1' } },
    } as unknown as Delivery;
    expect(retryMarks({ attempts: 1, firstFailedAt: 2, delivery: replayed }, 5)).toEqual({
      attempts: '1',
      'first-failed': '2',
      replay: '17',
    });
    expect(deadMarks(failure(new Error('x')), replayed, 0).replay).toBe('17');
    expect(deadMarks(failure(new Error('x')), delivery, 0)).not.toHaveProperty('replay');
  });

  it('errors of one class from one line have one fingerprint, others another', () => {
    const fail = (text: string): Error => new RangeError(text);
    const print = (error: unknown): string | undefined => deadMarks(failure(error), delivery, 0).fingerprint;
    const [a, b] = ['a', 'b'].map(fail);
    expect(print(a)).toBe(print(b));
    expect(print(new RangeError('a'))).not.toBe(print(a));
    expect(print(new TypeError('a'))).not.toBe(print(a));
  });
});
