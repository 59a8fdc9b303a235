import { describe, expect, it } from 'vitest';
import { reconnectDelayMs } from '../../adapters/redis/connection.ts';

describe('redis: reconnecting', () => {
  it('asks a server that was away, however long, again within a second of its being back', () => {
    for (const failures of [0, 1, 5, 6, 100, 1e9])
      for (const random of [0, 0.5, 1]) {
        expect(reconnectDelayMs(failures, random)).toBeLessThanOrEqual(1_000);
        expect(reconnectDelayMs(failures, random)).toBeGreaterThan(10);
      }
  });

  it('waits longer while it stays away, and not all clients alike', () => {
    const waits = [0, 1, 2, 3, 4, 5, 6].map((failures) => reconnectDelayMs(failures, 1));
    expect(waits).toEqual([25, 50, 100, 200, 400, 800, 1_000]);
    expect(reconnectDelayMs(6, 0)).toBe(500);
  });
});
