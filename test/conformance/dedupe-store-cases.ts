import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { DedupeStore } from '../../src/port.ts';
import { dedupeFacadeCases } from './dedupe-facade-cases.ts';
import type { It } from './options.ts';
import { until } from './until.ts';

export interface DedupeLimits {
  readonly windowMs?: number;
  readonly claimMs?: number;
}

export interface DedupeUnderTest {
  readonly store: DedupeStore;
  /** A second store on the same data, as another process would have it; the same one where nothing is shared. */
  readonly other: DedupeStore;
  /** How many entries are kept, whatever their state; undefined where that cannot be seen. */
  stored?(): Promise<number>;
  /** Closes both stores and removes the data. */
  close(): Promise<void>;
}

export interface DedupeSuiteOptions {
  readonly it: It;
  /** Opens two stores of these limits on data that nobody else uses. */
  readonly open: (limits: DedupeLimits) => Promise<DedupeUnderTest>;
}

/** What every dedupe store promises: alone, and through `connect` on a broker in memory. Needs no runner but `it`. */
export function dedupeStoreSuite(options: DedupeSuiteOptions): void {
  const promises = dedupeCases(options);

  promises('a message is new, then busy, then done, whoever asks', {}, async ({ store, other }) => {
    const token = await claimed(store, 'm');
    assert.deepEqual([await stateOf(store, 'm'), await stateOf(other, 'm')], ['busy', 'busy']);
    await store.commit('m', token);
    assert.deepEqual([await stateOf(store, 'm'), await stateOf(other, 'm')], ['done', 'done']);
    assert.equal(await stateOf(other, 'another'), 'new');
  });

  promises('what was released is new at once', {}, async ({ store, other }) => {
    await store.release('m', await claimed(store, 'm'));
    await other.commit('m', await claimed(other, 'm'));
    assert.equal(await stateOf(store, 'm'), 'done');
  });

  promises('of many who claim one message at once one gets it', {}, async ({ store, other }) => {
    for (let round = 0; round < 10; round += 1) {
      const key = `m-${round}`;
      const states = await Promise.all(
        Array.from({ length: 20 }, (_, index) => stateOf(index % 2 === 0 ? store : other, key)),
      );
      assert.deepEqual(states.sort(), [...Array.from({ length: 19 }, () => 'busy'), 'new']);
    }
  });

  promises('of many who claim one message whose claim has run out one gets it', { claimMs: 2_000 }, async (under) => {
    const { store, other } = under;
    await claimed(store, 'm');
    const fresh = async (): Promise<boolean> => {
      const states = await Promise.all([store, other, store, other, store, other].map((each) => stateOf(each, 'm')));
      const news = states.filter((state) => state === 'new').length;
      assert.ok(news <= 1, `${news} claimants got it`);
      return news === 1;
    };
    await until('the claim has run out', fresh);
  });

  promises(
    'the claim of one who died is taken over, and nothing it says later counts',
    { claimMs: 2_000 },
    async (u) => {
      const dead = await claimed(u.store, 'm');
      const token = await takenOver(u.other, 'm');
      await u.store.release('m', dead);
      assert.equal(await stateOf(u.store, 'm'), 'busy', 'a late release freed the claim of another');
      await u.store.commit('m', dead);
      assert.equal(await stateOf(u.store, 'm'), 'busy', 'a late commit ended the claim of another');
      await u.other.commit('m', token);
      assert.equal(await stateOf(u.store, 'm'), 'done');
      await u.store.release('m', dead);
      assert.equal(await stateOf(u.store, 'm'), 'done', 'a late release undid what was handled');
    },
  );

  promises(
    'who handled it longer than its claim lasted still commits, if nobody has taken over',
    { claimMs: 50 },
    async (u) => {
      const token = await claimed(u.store, 'm');
      await claimed(u.store, 'later');
      await takenOver(u.store, 'later');
      await u.store.commit('m', token);
      assert.equal(await stateOf(u.other, 'm'), 'done');
    },
  );

  promises('what was handled is forgotten after the window', { windowMs: 300 }, async ({ store, other }) => {
    await store.commit('m', await claimed(store, 'm'));
    await store.commit('m', await takenOver(other, 'm'));
  });

  promises('a window outlasts the claim that began it', { claimMs: 50 }, async ({ store, other }) => {
    await used(store, 'm');
    await claimed(store, 'later');
    await takenOver(store, 'later');
    assert.equal(await stateOf(other, 'm'), 'done');
  });

  promises('committing twice is committing once; releasing afterwards is nothing', {}, async ({ store, other }) => {
    const token = await claimed(store, 'm');
    await store.commit('m', token);
    await store.commit('m', token);
    await store.release('m', token);
    assert.equal(await stateOf(other, 'm'), 'done');
  });

  promises('a token that was never given ends nobody’s claim', {}, async ({ store, other }) => {
    await claimed(store, 'm');
    const strange = randomUUID();
    await other.release('m', strange);
    await other.commit('m', strange);
    assert.equal(await stateOf(other, 'm'), 'busy');
  });

  promises(
    'a claim that is renewed keeps others out for as long as that goes on',
    { claimMs: 600 },
    async ({ store, other }) => {
      if (store.renew === undefined) return;
      assert.equal(store.claimMs, 600);
      const [a, b] = [await claimed(store, 'a'), await claimed(store, 'b')];
      await claimed(other, 'not renewed');
      let ended = 0;
      await until('a claim beside them has run out three times', async () => {
        const renewed = await store.renew!([
          { key: 'a', token: a },
          { key: 'b', token: b },
        ]);
        assert.deepEqual(renewed, [true, true]);
        assert.equal(await stateOf(other, 'a'), 'busy');
        if ((await stateOf(other, 'not renewed')) === 'new') ended += 1;
        return ended === 3;
      });
      assert.equal(await stateOf(other, 'b'), 'busy');
      await store.commit('a', a);
      assert.equal(await stateOf(other, 'a'), 'done');
      await takenOver(other, 'b');
    },
  );

  promises('who has lost a claim renews nothing, and hears so', { claimMs: 1_000 }, async ({ store, other }) => {
    if (store.renew === undefined) return;
    const [lost, handled] = [await claimed(store, 'lost'), await claimed(store, 'handled')];
    const kept = await claimed(store, 'kept');
    await store.commit('handled', handled);
    const token = await takenOver(other, 'lost');
    const renewed = await store.renew([
      { key: 'lost', token: lost },
      { key: 'kept', token: kept },
      { key: 'handled', token: handled },
    ]);
    // The second had run out, too, but nobody wanted it.
    assert.deepEqual(renewed, [false, true, false]);
    assert.deepEqual([await stateOf(store, 'kept'), await stateOf(store, 'handled')], ['busy', 'done']);
    await other.commit('lost', token);
    assert.equal(await stateOf(store, 'lost'), 'done');
  });

  promises('takes any key: other scripts, quotes, very long', {}, async ({ store, other }) => {
    const long = 'é'.repeat(5_000);
    const keys = ['', ' ', 'a', 'A', 'a ', 'done', '🚂 \'q\' "d" \\ {a} %s $1 NULL', 'g\nt\nid:s/m', 'a\0b', 'a\0c'];
    const odd = [long, `${long}2`, '\ud800', '\ud801', '\ufffd', `sha256:${'0'.repeat(64)}`];
    for (const key of [...keys, ...odd]) {
      assert.equal(await stateOf(store, key), 'new', JSON.stringify(key.slice(0, 80)));
      assert.equal(await stateOf(other, key), 'busy', JSON.stringify(key.slice(0, 80)));
    }
  });

  promises('does not keep what it has forgotten', { windowMs: 1, claimMs: 1 }, async ({ store, other, stored }) => {
    if (stored === undefined) return;
    for (let n = 0; n < 1_000; n += 100) {
      await Promise.all(
        Array.from({ length: 100 }, (_, index) => used(index % 2 === 0 ? store : other, `m-${n + index}`)),
      );
    }
    await until('all but the last are gone', async () => (await stored()) < 600);
  });

  dedupeFacadeCases(promises);
}

export type DedupeCase = (title: string, limits: DedupeLimits, run: (under: DedupeUnderTest) => Promise<void>) => void;

function dedupeCases({ it, open }: DedupeSuiteOptions): DedupeCase {
  return (title, limits, run) =>
    void it(title, async () => {
      const under = await open(limits);
      try {
        await run(under);
      } finally {
        await under.close();
      }
    });
}

export const stateOf = async (store: DedupeStore, key: string): Promise<string> => (await store.claim(key)).state;

async function claimed(store: DedupeStore, key: string): Promise<string> {
  const claim = await store.claim(key);
  if (claim.state !== 'new') throw new Error(`a new message was ${claim.state}`);
  return claim.token;
}

async function used(store: DedupeStore, key: string): Promise<void> {
  await store.commit(key, await claimed(store, key));
}

/** Claims what somebody else has, as soon as that is possible. */
async function takenOver(store: DedupeStore, key: string): Promise<string> {
  let token: string | undefined;
  await until('it is new again', async () => {
    const claim = await store.claim(key);
    if (claim.state === 'new') token = claim.token;
    return token !== undefined;
  });
  return token!;
}
