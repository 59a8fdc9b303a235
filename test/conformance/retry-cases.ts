import assert from 'node:assert/strict';
import { DeadLetter, RetryLater } from '../../src/errors.ts';
import { assertOnce } from './ledger.ts';
import type { Suite } from './options.ts';
import { calm } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** What becomes of a message whose handler throws. */
export function retryCases(suite: Suite): void {
  suite.case('a message whose handler throws is handled again, its attempts counted', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const { started, handled } = await world.consume(client, topic, calm('g', 2), ({ attempt }) => {
      if (attempt < 3) throw new Error('not yet');
    });
    const ids = await publishOrders(client, topic, 20);
    await handled.all(ids);
    for (const id of ids) {
      assert.deepEqual(
        started.of(id).map(({ attempt }) => attempt),
        [1, 2, 3],
      );
    }
  });

  suite.case('many that fail at first all succeed in the end, through delays', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const { started, handled } = await world.consume(client, topic, calm('g', 1, [50, 50]), ({ attempt, payload }) => {
      if (attempt <= payload.n % 5) throw new Error('not yet');
    });
    const ids = await publishOrders(client, topic, 60);
    await handled.all(ids);
    for (const [n, id] of ids.entries()) {
      const attempts = started.of(id).map(({ attempt }) => attempt);
      assert.deepEqual(
        attempts,
        Array.from({ length: (n % 5) + 1 }, (_, index) => index + 1),
      );
    }
    assertOnce(handled);
  });

  suite.case(
    'a delayed retry is not early, keeps what the message was, and leaves other groups and messages alone',
    async (world) => {
      const topic = world.topic({ groups: { failing: 'none', other: 'none' } });
      const client = await world.client();
      const failedAt = new Map<string, number>();
      const again = new Map<string, number>();
      const seen: unknown[] = [];
      const failing = await world.consume(
        client,
        topic,
        calm('failing', 0, [700]),
        ({ id, attempt, key, headers, payload }) => {
          if (payload.n === 0) seen.push({ attempt, id, key, headers: { ...headers } });
          if (payload.n === 0 && attempt === 1) {
            failedAt.set(id, Date.now());
            throw new Error('once');
          }
          again.set(id, Date.now());
        },
      );
      const other = await world.consume(client, topic, calm('other'));
      await client.publish(topic, { n: 0 }, { id: 'm-0', key: 'k', headers: { a: 'ü' } });
      const ids = ['m-0', ...(await publishOrders(client, topic, 9, { from: 1 }))];
      await failing.handled.all(ids);
      await other.handled.all(ids);
      const took = again.get('m-0')! - failedAt.get('m-0')!;
      assert.ok(took >= 698, `a delay of 700 ms ended after ${took} ms`);
      assert.deepEqual(seen, [
        { attempt: 1, id: 'm-0', key: 'k', headers: { a: 'ü' } },
        { attempt: 2, id: 'm-0', key: 'k', headers: { a: 'ü' } },
      ]);
      assert.equal(failing.handled.entries.at(-1)!.id, 'm-0', 'others did not wait for it');
      assertOnce(failing.handled);
      assertOnce(other.started);
    },
  );

  suite.case('G8: attempts go on counting in another process, and end there', async (world) => {
    const topic = world.topic();
    const [one, two] = await Promise.all([world.client(), world.client()]);
    const publisher = await world.client();
    const options = calm('g', 0, [400, 50]);
    const first = await world.consume(one, topic, options, () => {
      throw new Error('fails here');
    });
    await publishOrders(publisher, topic, 1);
    await first.started.count(1);
    await one.close();
    const second = await world.consume(two, topic, options, () => {
      throw new Error('fails there too');
    });
    const letters = two.deadLetters(topic, 'g');
    await until('it is a dead letter', async () => (await letters.count()) === 1);
    assert.deepEqual(
      [...first.started.entries, ...second.started.entries].map(({ attempt }) => attempt),
      [1, 2, 3],
    );
    for await (const letter of letters.list()) assert.equal(letter.attempts, 3);
  });

  suite.case('RetryLater waits as long as it says, and counts as an attempt', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    let failedAt = 0;
    const { started, handled } = await world.consume(client, topic, calm('g', 0, [60_000]), ({ attempt }) => {
      if (attempt > 1) return;
      failedAt = Date.now();
      throw new RetryLater(300);
    });
    await publishOrders(client, topic, 1);
    await handled.count(1);
    assert.ok(Date.now() - failedAt >= 298);
    assert.deepEqual(
      started.entries.map(({ attempt }) => attempt),
      [1, 2],
    );
  });

  suite.case('what classify or DeadLetter gives up is not tried again', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const options = {
      ...calm('g', 3, [50]),
      classify: (error: unknown) => (error instanceof RangeError ? 'dead-letter' : 'retry'),
    } as const;
    const { started, handled } = await world.consume(client, topic, options, ({ payload }) => {
      if (payload.n === 0) throw new RangeError('hopeless');
      if (payload.n === 1) throw new DeadLetter('no such customer');
    });
    const ids = await publishOrders(client, topic, 3);
    const letters = client.deadLetters(topic, 'g');
    await until('both are dead letters', async () => (await letters.count()) === 2);
    await handled.all([ids[2]!]);
    assertOnce(started);
    const reasons = new Map<string, string>();
    for await (const letter of letters.list()) reasons.set(letter.id, letter.reason);
    assert.deepEqual(Object.fromEntries(reasons), { 'm-0': 'failed', 'm-1': 'no such customer' });
  });
}
