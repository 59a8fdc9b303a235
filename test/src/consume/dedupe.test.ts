import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type DedupeStore, memoryDedupe } from '../../../src/index.ts';

async function handled(store: DedupeStore, key: string): Promise<void> {
  const claim = await store.claim(key);
  if (claim.state === 'new') await store.commit(key, claim.token);
}
const stateOf = async (store: DedupeStore, key: string): Promise<string> => (await store.claim(key)).state;

describe('memoryDedupe', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => vi.useRealTimers());

  it('forgets after its window, to the millisecond', async () => {
    const store = memoryDedupe({ windowMs: 1_000 });
    await handled(store, 'a');
    vi.advanceTimersByTime(999);
    expect(await stateOf(store, 'a')).toBe('done');
    vi.advanceTimersByTime(1);
    expect(await stateOf(store, 'a')).toBe('new');
  });

  it('a claim keeps others out for claimMs, to the millisecond, and what it says afterwards is void', async () => {
    const store = memoryDedupe({ claimMs: 1_000 });
    const first = await store.claim('a');
    vi.advanceTimersByTime(999);
    expect(await stateOf(store, 'a')).toBe('busy');
    vi.advanceTimersByTime(1);
    expect(await stateOf(store, 'a')).toBe('new');
    if (first.state !== 'new') throw new Error('the first claim was refused');
    await store.release('a', first.token);
    await store.commit('a', first.token);
    expect(await stateOf(store, 'a')).toBe('busy');
  });

  it('holds no more than its maximum, the newest', async () => {
    const store = memoryDedupe({ max: 2 });
    for (const key of ['a', 'b', 'c']) await handled(store, key);
    expect(await Promise.all(['b', 'c'].map((key) => stateOf(store, key)))).toEqual(['done', 'done']);
    expect(await stateOf(store, 'a')).toBe('new');
  });
});
