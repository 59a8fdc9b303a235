import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryDedupe } from '../../../src/index.ts';

describe('memoryDedupe', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => vi.useRealTimers());

  it('new, then busy, then done', async () => {
    const store = memoryDedupe();
    expect(await store.claim('a')).toBe('new');
    expect(await store.claim('a')).toBe('busy');
    await store.commit('a');
    expect(await store.claim('a')).toBe('done');
    expect(await store.claim('b')).toBe('new');
  });

  it('what was released may be claimed again', async () => {
    const store = memoryDedupe();
    await store.claim('a');
    await store.release('a');
    expect(await store.claim('a')).toBe('new');
  });

  it('forgets after its window', async () => {
    const store = memoryDedupe({ windowMs: 1_000 });
    await store.claim('a');
    await store.commit('a');
    vi.advanceTimersByTime(999);
    expect(await store.claim('a')).toBe('done');
    vi.advanceTimersByTime(1);
    expect(await store.claim('a')).toBe('new');
  });

  it('holds no more than its maximum, the newest', async () => {
    const store = memoryDedupe({ max: 2 });
    for (const key of ['a', 'b', 'c']) {
      await store.claim(key);
      await store.commit(key);
    }
    expect(await Promise.all(['b', 'c'].map((key) => store.claim(key)))).toEqual(['done', 'done']);
    expect(await store.claim('a')).toBe('new');
  });
});
