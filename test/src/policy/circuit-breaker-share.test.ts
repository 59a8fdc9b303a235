import { expect, it } from 'vitest';
import { circuitBreaker } from '../../../src/policy/circuit-breaker.ts';

it.each([50, 100])('opens at a share of failures of exactly %d percent', async (errorPercent) => {
  const breaker = circuitBreaker(
    { errorPercent, minCalls: 2 },
    () => true,
    () => undefined,
  );
  const calls = errorPercent === 100 ? [false, false] : [true, false];
  for (const succeeds of calls)
    await breaker.fire(() => (succeeds ? Promise.resolve() : Promise.reject(new Error('no')))).catch(() => undefined);
  expect(breaker.open).toBe(true);
  breaker.close();
});
