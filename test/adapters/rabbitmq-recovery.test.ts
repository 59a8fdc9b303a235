import { describe, expect, it } from 'vitest';
import { backoffMs } from '../../adapters/rabbitmq/bell.ts';

/** What an outage may last beyond the broker's own return. */
const PROMISE_MS = 5_000;

describe('rabbitmq: how soon a broker that is back is in use', () => {
  it('waits at most 1.5 s before a connection, and as long again before a consumer: within the promised 5 s', () => {
    const longest = (failures: number): number => Math.max(...Array.from({ length: 200 }, () => backoffMs(failures)));
    for (let failures = 0; failures <= 2_000; failures += failures < 20 ? 1 : 99) {
      const waitMs = longest(failures);
      expect(waitMs).toBeGreaterThan(0);
      expect(waitMs).toBeLessThanOrEqual(1_500);
      expect(2 * waitMs).toBeLessThan(PROMISE_MS);
    }
    expect(longest(0)).toBeLessThanOrEqual(50);
  });
});
