import { describe, expect, it } from 'vitest';
import { type DedupeClaim, type DedupeStore, memoryDedupe } from '../../src/index.ts';
import { type DedupeLimits, type DedupeUnderTest, dedupeStoreSuite } from '../conformance/index.ts';
import { withPatience } from '../conformance/until.ts';
import { oneCase } from './one-case.ts';

/** A right store with one thing wrong, and a part of the title of a case that must notice. */
const sabotages: readonly [string, string, (limits: DedupeLimits) => DedupeStore][] = [
  ['remembers nothing', 'new, then busy, then done', (limits) => ({ ...memoryDedupe(limits), commit: none })],
  ['releases nothing', 'released is new at once', (limits) => ({ ...memoryDedupe(limits), release: none })],
  [
    'forgets a claim at once',
    'never given',
    (limits) => {
      const store = memoryDedupe(limits);
      return { ...store, claim: async (key) => freed(store, key) };
    },
  ],
  ['looks first and claims then', 'of many who claim one message at once', (limits) => twoSteps(memoryDedupe(limits))],
  [
    'never lets a claim run out',
    'who died is taken over',
    ({ windowMs }) => memoryDedupe({ ...(windowMs && { windowMs }) }),
  ],
  ['never forgets', 'forgotten after the window', ({ claimMs }) => memoryDedupe({ ...(claimMs && { claimMs }) })],
  ['takes any token for the holder’s', 'nothing it says later counts', (limits) => tokenless(memoryDedupe(limits))],
  ['ends claims by unknown tokens', 'never given', (limits) => tokenless(memoryDedupe(limits))],
  [
    'remembers for as long as a claim lasts',
    'a window outlasts the claim',
    (limits) => memoryDedupe({ ...limits, ...(limits.claimMs && { windowMs: limits.claimMs }) }),
  ],
  [
    'renews nothing',
    'keeps others out',
    (limits) => ({ ...memoryDedupe(limits), renew: async (held) => held.map(() => true) }),
  ],
  [
    'renews what somebody else has',
    'hears so',
    (limits) => ({ ...memoryDedupe(limits), renew: async (held) => held.map(() => true) }),
  ],
  [
    'confuses keys that begin alike',
    'takes any key',
    (limits) => {
      const store = memoryDedupe(limits);
      return { ...store, claim: (key) => store.claim(key.slice(0, 100)) };
    },
  ],
];

describe('the dedupe suite notices a store that', () => {
  for (const [what, title, make] of sabotages) {
    it.concurrent(what, async () => {
      async function open(limits: DedupeLimits): Promise<DedupeUnderTest> {
        const store = make(limits);
        return { store, other: store, close: async () => undefined };
      }
      const run = oneCase(title, (it) => dedupeStoreSuite({ it, open }));
      await expect(withPatience(2_500, run)).rejects.toThrow();
    });
  }
});

async function none(): Promise<void> {}

async function freed(store: DedupeStore, key: string): Promise<DedupeClaim> {
  const claim = await store.claim(key);
  if (claim.state === 'new') await store.release(key, claim.token);
  return claim;
}

function twoSteps(store: DedupeStore): DedupeStore {
  const taken = new Set<string>();
  return {
    ...store,
    async claim(key) {
      const free = !taken.has(key);
      await new Promise((resolve) => setImmediate(resolve));
      taken.add(key);
      return free ? { state: 'new', token: key } : { state: 'busy' };
    },
  };
}

/** Whoever speaks of a key is believed. */
function tokenless(store: DedupeStore): DedupeStore {
  const tokens = new Map<string, string>();
  return {
    async claim(key) {
      const claim = await store.claim(key);
      if (claim.state === 'new') tokens.set(key, claim.token);
      return claim;
    },
    commit: (key, token) => store.commit(key, tokens.get(key) ?? token),
    release: (key, token) => store.release(key, tokens.get(key) ?? token),
  };
}
