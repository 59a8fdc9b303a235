import assert from 'node:assert/strict';
import { assertNoPhantom, assertOnce, type Ledger } from './ledger.ts';
import type { Suite } from './options.ts';
import { calm } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

const attemptsOf = (handled: Ledger): Set<number> => new Set(handled.entries.map(({ attempt }) => attempt));

/** G9: ending in good order. */
export function closeCases(suite: Suite): void {
  suite.case(
    'G9: close lets running handlers finish and gives back the rest unspent, and says how many',
    async (world) => {
      const topic = world.topic();
      const { client, seen } = await world.watched();
      const hold = world.gate();
      const options = { ...calm('g'), concurrency: 5, prefetch: 20 };
      const first = await world.consume(client, topic, options, () => hold.opened);
      const ids = await publishOrders(client, topic, 20);
      await first.started.count(5);
      await until('all are delivered', () => seen.deliveries.length === 20);
      const closing = first.consumer.close({ drainMs: 20_000 });
      hold.open();
      assert.deepEqual(await closing, { completed: 5, givenBack: 15, unknown: 0 });
      assert.equal(first.handled.entries.length, 5);
      const second = await world.consume(await world.client(), topic, options);
      const rest = ids.filter((id) => !first.handled.ids().has(id));
      await second.handled.all(rest);
      assert.deepEqual([...attemptsOf(second.handled)], [1]);
      assert.deepEqual([...second.handled.ids()].sort(), [...rest].sort(), 'none was handled twice');
    },
  );

  suite.case('G9: what has not finished when the time is up is aborted and given back unspent', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const aborted: string[] = [];
    const first = await world.consume(client, topic, { ...calm('g', 3), concurrency: 3 }, ({ id }, { signal }) => {
      return new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(id);
          reject(signal.reason);
        });
      });
    });
    const ids = await publishOrders(client, topic, 3);
    await first.started.count(3);
    const { completed, givenBack } = await client.close({ drainMs: 50 });
    assert.deepEqual({ completed, givenBack }, { completed: 0, givenBack: 3 });
    assert.deepEqual(aborted.sort(), [...ids].sort());
    const second = await world.consume(await world.client(), topic, calm('g'));
    await second.handled.all(ids);
    assert.deepEqual([...attemptsOf(second.handled)], [1]);
  });

  suite.case('G9: nothing is lost while consumers are closed and opened amid the flow', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const ids = await publishOrders(client, topic, 300);
    const handled = new Set<string>();
    for (let round = 1; handled.size < 300; round += 1) {
      assert.ok(round < 40, `only ${handled.size} of 300 after ${round} consumers`);
      const consumed = await world.consume(
        client,
        topic,
        { ...calm('g'), concurrency: 8 },
        () => new Promise((resolve) => setTimeout(resolve, 1)),
      );
      const enough = Math.min(50, 300 - handled.size);
      await consumed.handled.count(enough);
      await consumed.consumer.close();
      assertNoPhantom(consumed.handled, ids);
      assert.deepEqual([...attemptsOf(consumed.handled)], [1]);
      for (const id of consumed.handled.ids()) handled.add(id);
    }
    assert.equal(handled.size, 300);
  });

  suite.case('a closed consumer handles nothing more; others go on', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const first = await world.consume(client, topic, calm('g'));
    await first.handled.all(await publishOrders(client, topic, 5));
    await first.consumer.close();
    const more = await publishOrders(client, topic, 20, { prefix: 'more-' });
    const second = await world.consume(client, topic, calm('g'));
    await second.handled.all(more);
    assert.equal(first.started.entries.length, 5);
    assertOnce(second.handled);
  });

  suite.case('closing twice, at once and in any order is safe', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const consumed = await Promise.all(Array.from({ length: 4 }, () => world.consume(client, topic, calm('g'))));
    const publishing = publishOrders(client, topic, 50).catch(() => undefined);
    const results = await Promise.all([
      ...consumed.map(({ consumer }) => consumer.close()),
      ...consumed.map(({ consumer }) => consumer.close()),
      client.close(),
      client.close(),
      client[Symbol.asyncDispose](),
    ]);
    await publishing;
    assert.ok(results.length > 0);
    assert.deepEqual(await client.close(), await client.close());
    await assert.rejects(client.publish(topic, { n: 0 }), { code: 'client-closed' });
    await assert.rejects(
      client.consume(topic, calm('g'), () => undefined),
      { code: 'client-closed' },
    );
    assert.equal((await client.health()).ready, false);
  });

  suite.case('a key that is given back in the middle keeps its order elsewhere', async (world) => {
    if (suite.capabilities.order === 'none') return;
    const topic = world.topic({ groups: { g: 'key' }, partitions: 2 });
    const client = await world.client();
    const hold = world.gate();
    const first = await world.consume(client, topic, { ...calm('g'), concurrency: 4 }, ({ payload }) =>
      payload.n === 3 ? hold.opened : undefined,
    );
    for (let n = 0; n < 12; n += 1) await client.publish(topic, { n, key: 'k' }, { id: `m-${n}` });
    await first.started.all(['m-3']);
    await first.consumer.close({ drainMs: 20 });
    const second = await world.consume(await world.client(), topic, calm('g'));
    await second.handled.all(['m-11']);
    assert.deepEqual(
      second.handled.entries.map(({ n }) => n),
      [3, 4, 5, 6, 7, 8, 9, 10, 11],
    );
    assert.deepEqual([...attemptsOf(second.handled)], [1]);
  });
}
