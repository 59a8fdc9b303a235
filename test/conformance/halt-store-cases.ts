import assert from 'node:assert/strict';
import type { HaltStore } from '../../src/port.ts';
import type { It } from './options.ts';

export interface HaltsUnderTest {
  readonly store: HaltStore;
  /** A second store on the same data, as another process would have it; the same one where nothing is shared. */
  readonly other: HaltStore;
  /** Closes both stores and removes the data. */
  close(): Promise<void>;
}
export interface HaltSuiteOptions {
  readonly it: It;
  /** Opens two stores on data that nobody else uses. */
  readonly open: () => Promise<HaltsUnderTest>;
}

const of = { group: 'g', topic: 'orders' };
const key = { ...of, key: 'k' };
/** Tokens are UUIDs. */
const token = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

/** What every store of halted keys promises. Needs no runner but `it`. */
export function haltStoreSuite({ it, open }: HaltSuiteOptions): void {
  function promises(title: string, run: (under: HaltsUnderTest) => Promise<void>): void {
    void it(`S27: ${title}`, async () => {
      const under = await open();
      try {
        await run(under);
      } finally {
        await under.close();
      }
    });
  }

  promises('a key stands still from its halt on, for whoever asks, and no other key does', async ({ store, other }) => {
    const near = [
      { ...key, key: 'K' },
      { ...key, key: 'k ' },
      { ...key, group: 'h' },
      { ...key, topic: 'refunds' },
    ];
    assert.deepEqual(await store.halted(of, ['k', 'other']), [false, false]);
    assert.equal(await store.admit(key, 'a', token(1)), 'free');
    const before = Date.now();
    await store.halt(key, 'a', token(1));
    assert.deepEqual(await other.halted(of, ['other', 'k', 'K', 'k ']), [false, true, false, false]);
    for (const each of near) assert.equal(await other.admit(each, 'a', token(1)), 'free');
    const [halt, ...more] = await other.list(of);
    assert.deepEqual(more, []);
    assert.deepEqual({ ...halt, haltedAt: 0 }, { key: 'k', haltedAt: 0, releasing: false, parked: 1 });
    assert.ok(Math.abs(halt!.haltedAt - before) < 60_000);
    assert.deepEqual(await store.halted(of, []), []);
  });

  promises('messages wait in the order in which they came first, however often they come', async ({ store, other }) => {
    await store.halt(key, 'a', token(1));
    for (const message of ['b', 'c', 'b', 'a', 'd', 'b'])
      assert.equal(await other.admit(key, message, token(2)), 'parked');
    const halt = await store.parked(key, 100);
    assert.deepEqual([halt?.messages, halt?.parked], [['a', 'b', 'c', 'd'], 4]);
    assert.deepEqual((await store.parked(key, 2))?.messages, ['a', 'b']);
    assert.equal((await store.parked(key, 2))?.parked, 4);
  });

  promises(
    'in a release only the first is next; what fails again ends it in its old place',
    async ({ store, other }) => {
      await store.halt(key, 'a', token(1));
      for (const message of ['b', 'c']) await store.admit(key, message, token(2));
      assert.equal(await other.release(key), true);
      assert.equal(await store.admit(key, 'b', token(3)), 'parked');
      assert.equal(await store.admit(key, 'a', token(3)), 'next');
      assert.equal(await store.admit(key, 'new', token(3)), 'parked');
      await store.through(key, 'a');
      assert.equal(await other.admit(key, 'b', token(4)), 'next');
      await other.halt(key, 'b', token(5));
      assert.equal(await store.admit(key, 'b', token(6)), 'parked');
      assert.deepEqual(await store.parked(key, 10).then((halt) => [halt?.releasing, halt?.messages]), [
        false,
        ['b', 'c', 'new'],
      ]);
    },
  );

  promises('with the last message that waits the key is free, and may be halted anew', async ({ store, other }) => {
    await store.halt(key, 'a', token(1));
    await store.admit(key, 'b', token(1));
    await store.release(key);
    await store.through(key, 'a');
    await store.through(key, 'a');
    assert.deepEqual(await other.halted(of, ['k']), [true]);
    await store.through(key, 'b');
    assert.deepEqual(await other.halted(of, ['k']), [false]);
    assert.equal(await other.parked(key, 10), undefined);
    assert.equal(await other.release(key), false);
    assert.deepEqual(await other.list(of), []);
    await store.halt(key, 'c', token(2));
    assert.deepEqual((await other.parked(key, 10))?.messages, ['c']);
    assert.equal((await other.parked(key, 10))?.releasing, false);
  });

  promises(
    'who halted by mistake withdraws, unless somebody else has met the message since',
    async ({ store, other }) => {
      await store.halt(key, 'a', token(1));
      await store.withdraw(key, 'a', token(1));
      assert.deepEqual(await other.halted(of, ['k']), [false]);
      await store.halt(key, 'a', token(1));
      await other.admit(key, 'a', token(2));
      await store.withdraw(key, 'a', token(1));
      assert.deepEqual((await other.parked(key, 10))?.messages, ['a']);
      await store.withdraw({ ...key, key: 'free' }, 'a', token(1));
    },
  );

  promises('no message slips through while the last one goes, whoever comes first', async ({ store, other }) => {
    for (let round = 0; round < 20; round += 1) {
      await store.halt(key, 'last', token(1));
      await store.release(key);
      const [entry] = await Promise.all([other.admit(key, 'new', token(2)), store.through(key, 'last')]);
      // Free, once nothing waits; or parked, and then it does wait, and it is its turn.
      if (entry === 'free') assert.equal(await store.parked(key, 10), undefined);
      else {
        assert.equal(entry, 'parked');
        assert.deepEqual((await store.parked(key, 10))?.messages, ['new']);
        assert.equal(await other.admit(key, 'new', token(3)), 'next');
        await store.through(key, 'new');
      }
    }
  });

  promises('of many who come at once each has a place', async ({ store, other }) => {
    await store.halt(key, 'a', token(0));
    const names = Array.from({ length: 40 }, (_, n) => `m-${n}`);
    const entries = await Promise.all(
      names.map((name, n) => (n % 2 === 0 ? store : other).admit(key, name, token(n + 1))),
    );
    assert.deepEqual(new Set(entries), new Set(['parked']));
    const halt = await store.parked(key, 100);
    assert.deepEqual([...halt!.messages].sort(), ['a', ...names].sort());
  });
}
