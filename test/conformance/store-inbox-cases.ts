import assert from 'node:assert/strict';
import type { InboxClaim } from '../../src/port.ts';
import { gate, readAll, type StoreSuiteOptions, storeCases, topicOf, until } from './store-fixtures.ts';

export function inboxCases<Tx>(options: StoreSuiteOptions<Tx>): void {
  const promises = storeCases(options);

  promises(
    'G4: a message is handled once, with its effect in the same commit',
    async ({ store, other, write, written }) => {
      const claims = [claim('m')];
      assert.deepEqual(await store.inbox.run(claims, never(), async (tx) => write(tx, 'effect')), [0]);
      let called = false;
      const again = await other.inbox.run(claims, never(), async () => {
        called = true;
      });
      assert.deepEqual([again, called], [[], false]);
      assert.deepEqual(await written(), ['effect']);
    },
  );

  promises('G4: a handler that throws leaves nothing, and the message can be handled again', async (under) => {
    const { store, write, written } = under;
    const failure = new Error('not today');
    const failing = store.inbox.run([claim('m')], never(), async (tx) => {
      await write(tx, 'half');
      throw failure;
    });
    await assert.rejects(failing, (error) => error === failure);
    assert.deepEqual(await written(), []);
    assert.deepEqual(await store.inbox.run([claim('m')], never(), async (tx) => write(tx, 'whole')), [0]);
    assert.deepEqual(await written(), ['whole']);
  });

  promises('S12: is unique on group, topic and identity together', async ({ store }) => {
    const claims = [
      claim('m'),
      claim('m', { group: 'other' }),
      claim('m', { topic: 'other' }),
      claim('n'),
      claim('x', { group: 'a', topic: 'b:c' }),
      claim('x', { group: 'a:b', topic: 'c' }),
    ];
    for (const one of claims) assert.deepEqual(await store.inbox.run([one], never(), async () => undefined), [0]);
  });

  promises('takes any identity: other scripts, quotes, very long', async ({ store }) => {
    const claims = [`🚂 'q' "d" \\ {a,b} NULL`, '', 'é'.repeat(5000), `${'é'.repeat(5000)}2`].map((text) =>
      claim(text),
    );
    assert.deepEqual(await store.inbox.run(claims, never(), async () => undefined), [0, 1, 2, 3]);
    assert.deepEqual(await store.inbox.run(claims, never(), async () => undefined), []);
    assert.deepEqual(await store.inbox.seen(claims), [true, true, true, true]);
  });

  promises('S25: of a batch only the new messages are handed over, and each once', async ({ store }) => {
    await store.inbox.run([claim('b')], never(), async () => undefined);
    let handed: readonly number[] = [];
    const claims = [claim('a'), claim('b'), claim('c'), claim('a')];
    const fresh = await store.inbox.run(claims, never(), async (_, indexes) => {
      handed = indexes;
    });
    assert.deepEqual(
      [fresh, handed],
      [
        [0, 2],
        [0, 2],
      ],
    );
  });

  promises('of two that handle the same message at once the second waits, then sees a duplicate', async (under) => {
    const { store, other, write, written } = under;
    const hold = gate();
    const started = gate();
    const first = store.inbox.run([claim('m')], never(), async (tx) => {
      started.open();
      await hold.opened;
      await write(tx, 'first');
    });
    await started.opened;
    const second = other.inbox.run([claim('m')], never(), async (tx) => write(tx, 'second'));
    hold.open();
    assert.deepEqual(await Promise.all([first, second]), [[0], []]);
    assert.deepEqual(await written(), ['first']);
  });

  promises('of two that handle the same message at once the second takes over when the first fails', async (under) => {
    const { store, other, write, written } = under;
    const hold = gate();
    const started = gate();
    const first = store.inbox.run([claim('m')], never(), async () => {
      started.open();
      await hold.opened;
      throw new Error('failed');
    });
    await started.opened;
    const second = other.inbox.run([claim('m')], never(), async (tx) => write(tx, 'second'));
    hold.open();
    await assert.rejects(first, { message: 'failed' });
    assert.deepEqual(await second, [0]);
    assert.deepEqual(await written(), ['second']);
  });

  promises('batches that overlap in any order do not deadlock', async ({ store, other }) => {
    const claims = Array.from({ length: 20 }, (_, index) => claim(`m-${index}`));
    const runs = Array.from({ length: 12 }, (_, index) => {
      const mine = index % 3 === 0 ? claims : index % 3 === 1 ? claims.toReversed() : claims.slice(5, 15);
      return (index % 2 === 0 ? store : other).inbox.run(mine, never(), async () => undefined);
    });
    const handled = await Promise.all(runs);
    assert.equal(handled.flat().length, 20);
  });

  promises(
    'S24: once it is aborted a handler can write nothing, not even later, and the message comes again',
    async (under) => {
      const { store, write, written } = under;
      const abort = new AbortController();
      const hold = gate();
      const started = gate();
      let late: unknown;
      const ignoring = store.inbox.run([claim('m')], abort.signal, async (tx) => {
        await write(tx, 'before');
        started.open();
        await hold.opened;
        try {
          await write(tx, 'late');
        } catch (error) {
          late = error;
          throw error;
        }
      });
      await started.opened;
      const reason = new Error('timed out');
      abort.abort(reason);
      await assert.rejects(ignoring, (error) => error === reason);
      hold.open();
      await until('the late write was refused', () => late !== undefined);
      assert.equal((late as Error).name, 'TransactionRevoked');
      assert.deepEqual(await written(), []);
      assert.deepEqual(await store.inbox.run([claim('m')], never(), async (tx) => write(tx, 'second try')), [0]);
      assert.deepEqual(await written(), ['second try']);
    },
  );

  promises('S24: a transaction cannot be used once it was committed', async ({ store, write, written }) => {
    let kept: Tx | undefined;
    await store.inbox.run([claim('m')], never(), async (tx) => {
      kept = tx;
    });
    await assert.rejects(async () => write(kept!, 'late'), { name: 'TransactionRevoked' });
    assert.deepEqual(await written(), []);
  });

  promises('S25: more handlers than places all get their turn, never more at once than it says', async ({ store }) => {
    const { maxTransactions } = store.inbox;
    let running = 0;
    let most = 0;
    const runs = Array.from({ length: maxTransactions * 3 + 2 }, (_, index) =>
      store.inbox.run([claim(`m-${index}`)], never(), async () => {
        running++;
        most = Math.max(most, running);
        await new Promise(setImmediate);
        running--;
      }),
    );
    assert.equal((await Promise.all(runs)).flat().length, runs.length);
    assert.ok(most <= maxTransactions, `${most} at once of ${maxTransactions}`);
  });

  promises('an abort while it waits for its turn rejects with the reason and takes no place', async ({ store }) => {
    const { maxTransactions } = store.inbox;
    const hold = gate();
    const holding = Array.from({ length: maxTransactions }, (_, index) =>
      store.inbox.run([claim(`m-${index}`)], never(), () => hold.opened),
    );
    const abort = new AbortController();
    let called = false;
    const waiting = store.inbox.run([claim('w')], abort.signal, async () => {
      called = true;
    });
    const reason = new Error('closing');
    abort.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
    await assert.rejects(
      store.inbox.run([claim('w')], abort.signal, async () => undefined),
      (error) => error === reason,
    );
    hold.open();
    await Promise.all(holding);
    assert.equal(called, false);
    const more = Array.from({ length: maxTransactions }, (_, index) =>
      store.inbox.run([claim(`n-${index}`)], never(), async () => undefined),
    );
    assert.equal((await Promise.all(more)).flat().length, maxTransactions);
  });

  promises('says which messages were handled before', async ({ store, other }) => {
    await store.inbox.run([claim('a'), claim('c')], never(), async () => undefined);
    assert.deepEqual(await other.inbox.seen([claim('a'), claim('b'), claim('c')]), [true, false, true]);
    assert.deepEqual(await store.inbox.seen([]), []);
  });

  promises('a handler can add to the outbox in its own transaction: both or neither', async ({ store }) => {
    const topic = topicOf();
    let calls = 0;
    const unsubscribe = store.outbox.relay.onWake(() => {
      calls++;
    });
    await store.inbox.run([claim('m')], never(), async (tx) => {
      await store.outbox.add(tx, topic, { id: 'reply' });
    });
    await until('the relay was woken', () => calls > 0);
    unsubscribe();
    const failing = store.inbox.run([claim('n')], never(), async (tx) => {
      await store.outbox.add(tx, topic, { id: 'never' });
      throw new Error('failed');
    });
    await assert.rejects(failing, { message: 'failed' });
    assert.deepEqual((await readAll(store)).ids, ['reply']);
  });
}

function claim(identity: string, more: Partial<InboxClaim> = {}): InboxClaim {
  return { group: 'billing', topic: 'orders.placed', identity, ...more };
}

function never(): AbortSignal {
  return new AbortController().signal;
}
