import { describe, expect, it } from 'vitest';
import { withRetries } from '../../../src/policy/retry.ts';

const backoff = { retries: 3, firstMs: 1, factor: 1, maxMs: 1, jitter: false };
const always = (): boolean => true;

describe('withRetries', () => {
  it('tries until it succeeds, and numbers its attempts', async () => {
    const numbers: number[] = [];
    const result = await withRetries(
      async (number) => {
        numbers.push(number);
        if (number < 3) throw new Error('not yet');
        return 'done';
      },
      backoff,
      always,
    );
    expect(result).toBe('done');
    expect(numbers).toEqual([1, 2, 3]);
  });

  it('rejects with what the last attempt threw, itself, whatever it is', async () => {
    for (const thrown of [new TypeError('a bug of the user’s'), 'a string', undefined]) {
      const failing = withRetries(() => Promise.reject(thrown), backoff, always);
      const outcome = await failing.then(
        () => 'no',
        (error: unknown) => ({ error }),
      );
      expect(outcome).toEqual({ error: thrown });
    }
  });

  it('stops when it is told that it is of no use', async () => {
    let attempts = 0;
    const asked: unknown[] = [];
    const failing = withRetries(
      async () => {
        attempts += 1;
        throw new Error(`attempt ${attempts}`);
      },
      backoff,
      (error, number) => {
        asked.push([(error as Error).message, number]);
        return number < 2;
      },
    );
    await expect(failing).rejects.toThrow('attempt 2');
    expect(asked).toEqual([
      ['attempt 1', 1],
      ['attempt 2', 2],
    ]);
  });

  it('makes 1 + retries attempts', async () => {
    let attempts = 0;
    const failing = withRetries(
      async () => {
        attempts += 1;
        throw new Error('no');
      },
      backoff,
      always,
    );
    await expect(failing).rejects.toThrow('no');
    expect(attempts).toBe(4);
  });

  it('ends its pause at once when the signal aborts', async () => {
    const abort = new AbortController();
    const failing = withRetries(
      async () => {
        setImmediate(() => abort.abort(new Error('closing')));
        throw new Error('no');
      },
      { ...backoff, firstMs: 60_000, maxMs: 60_000 },
      always,
      abort.signal,
    );
    await expect(failing).rejects.toThrow('closing');
  });
});
