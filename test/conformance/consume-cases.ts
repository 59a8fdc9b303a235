import assert from 'node:assert/strict';
import { assertNoPhantom, assertOnce } from './ledger.ts';
import type { Suite } from './options.ts';
import { calm } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** Consumers, groups and topics side by side. */
export function consumeCases(suite: Suite): void {
  suite.case('consumers of one group share its messages, and lose none', async (world) => {
    const topic = world.topic({ partitions: 6 });
    const publisher = await world.client();
    const clients = await Promise.all([world.client(), world.client(), world.client()]);
    const consumed = await Promise.all(
      clients.map((client) => world.consume(client, topic, { ...calm('g'), concurrency: 2, prefetch: 4 })),
    );
    const ids: string[] = [];
    const handledBy = (): readonly number[] => consumed.map(({ handled }) => handled.entries.length);
    // Some brokers take a moment to let each have its share.
    await until('each consumer has handled some', async () => {
      if (ids.length < 3_000) ids.push(...(await publishOrders(publisher, topic, 30, { from: ids.length })));
      return handledBy().every((count) => count > 0);
    });
    await until(`all ${ids.length} are handled, by each ${handledBy().join(', ')}`, () => {
      const all = new Set(consumed.flatMap(({ handled }) => [...handled.ids()]));
      return ids.every((id) => all.has(id));
    });
    for (const { handled } of consumed) assertNoPhantom(handled, ids);
  });

  suite.case('many topics at once, each with its own messages', async (world) => {
    const client = await world.client();
    const topics = Array.from({ length: 8 }, () => world.topic());
    const consumed = await Promise.all(topics.map((topic) => world.consume(client, topic, calm('g'))));
    const published = await Promise.all(
      topics.map((topic, index) => publishOrders(client, topic, 25, { prefix: `t${index}-` })),
    );
    for (const [index, { handled }] of consumed.entries()) {
      await handled.all(published[index]!);
      assertNoPhantom(handled, published[index]!);
      assertOnce(handled);
    }
  });

  suite.case('topics whose names look alike never mix', async (world) => {
    const client = await world.client();
    const base = world.name();
    const names = [base, `${base}.a`, `${base}-a`, `${base}.A`, `${base}.a.a`, `${base}.a-a`];
    const topics = names.map((name) => world.topic({ name, groups: { a: 'none', 'a.a': 'none' } }));
    const published = await Promise.all(
      topics.map((topic, index) => publishOrders(client, topic, 4, { prefix: `t${index}-` })),
    );
    for (const [index, topic] of topics.entries()) {
      for (const group of ['a', 'a.a']) {
        const { consumer, handled } = await world.consume(client, topic, calm(group));
        await handled.all(published[index]!);
        assertNoPhantom(handled, published[index]!);
        await consumer.close();
      }
    }
  });

  suite.case('each group gets every message, once per group', async (world) => {
    const topic = world.topic({ groups: { billing: 'none', board: suite.byKey, mail: 'none' } });
    const client = await world.client();
    const other = await world.client();
    const consumed = await Promise.all([
      world.consume(client, topic, calm('billing')),
      world.consume(other, topic, calm('board')),
      world.consume(other, topic, calm('mail')),
    ]);
    const ids = await publishOrders(client, topic, 100);
    for (const { handled } of consumed) {
      await handled.all(ids);
      assertNoPhantom(handled, ids);
      assertOnce(handled);
    }
  });

  suite.case('a message waits for a group whose consumer starts later', async (world) => {
    const topic = world.topic({ groups: { early: 'none', late: 'none' } });
    const publisher = await world.client();
    const early = await world.consume(publisher, topic, calm('early'));
    const ids = await publishOrders(publisher, topic, 20);
    await early.handled.all(ids);
    await publisher.close();
    const { handled } = await world.consume(await world.client(), topic, calm('late'));
    await handled.all(ids);
  });

  suite.case('handlers run at once up to the concurrency, and never more', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const full = world.gate();
    let running = 0;
    let most = 0;
    const { handled } = await world.consume(client, topic, { ...calm('g'), concurrency: 7 }, async () => {
      running += 1;
      most = Math.max(most, running);
      if (running === 7) full.open();
      await full.opened;
      running -= 1;
    });
    const ids = await publishOrders(client, topic, 60);
    await handled.all(ids);
    assert.equal(most, 7);
  });

  suite.case('no more than the prefetch is delivered before something is settled', async (world) => {
    const topic = world.topic();
    const { client, seen } = await world.watched();
    const hold = world.gate();
    const { started, handled } = await world.consume(
      client,
      topic,
      { ...calm('g'), concurrency: 3, prefetch: 5 },
      () => hold.opened,
    );
    const ids = await publishOrders(client, topic, 60);
    await started.count(3);
    await until('the prefetch is full', () => seen.unsettled() === 5);
    // More is on the broker and may come, if it comes, before this round trip is over.
    await publishOrders(client, topic, 1, { prefix: 'last-' });
    assert.equal(seen.deliveries.length, 5);
    hold.open();
    await handled.all([...ids, 'last-0']);
    assert.equal(seen.most.get('normal'), 5);
  });

  suite.case('a paused consumer takes nothing new, and goes on when resumed', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const { consumer, started, handled } = await world.consume(client, topic, calm('g'));
    const first = await publishOrders(client, topic, 5, { prefix: 'first-' });
    await handled.all(first);
    consumer.pause();
    const then = await publishOrders(client, topic, 5, { prefix: 'then-' });
    const elsewhere = world.topic();
    const other = await world.consume(client, elsewhere, calm('g'));
    await publishOrders(client, elsewhere, 1, { prefix: 'elsewhere-' });
    await other.handled.all(['elsewhere-0']);
    assert.equal(started.entries.length, 5);
    consumer.resume();
    await handled.all(then);
  });
}
