import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** One more than RabbitMQ's delivery limit, which counts give-backs up to 4.2. */
const DEPLOYMENTS = 21;

/** Deployments: consumers that close, with messages prefetched. */
export function drainCases(suite: Suite): void {
  suite.case(
    'Trap 45: closing takes nothing new, lets handlers end, settles, waits for confirms, and gives back what was prefetched',
    async (world) => {
      const topic = world.topic();
      const elsewhere = world.topic();
      const { client, seen } = await world.watched();
      const hold = world.gate();
      const options = { ...quick('g'), concurrency: 3, prefetch: 12 };
      const first = await world.consume(client, topic, options, async ({ id }) => {
        await hold.opened;
        // Handlers that still run may publish.
        await client.publish(elsewhere, { n: 0 }, { id: `follows ${id}` });
      });
      const publisher = await world.client();
      const ids = await publishOrders(publisher, topic, 12);
      await first.started.count(3);
      await until('all are delivered', () => seen.deliveries.length === 12);
      const closing = client.close({ drainMs: 30_000 });
      const late = await publishOrders(publisher, topic, 5, { prefix: 'late-' });
      const other = await world.consume(publisher, elsewhere, quick('g'));
      hold.open();
      assert.deepEqual(await closing, { completed: 3, givenBack: seen.deliveries.length - 3, unknown: 0 });
      assert.equal(first.started.entries.length, 3, 'nothing new was begun');
      await other.handled.all([...first.handled.ids()].map((id) => `follows ${id}`));
      const second = await world.consume(await world.client(), topic, quick('g'));
      const rest = [...ids, ...late].filter((id) => !first.handled.ids().has(id));
      await second.handled.all(rest);
      assert.deepEqual([...second.handled.ids()].sort(), rest.sort(), 'what was handled is settled');
      assert.ok(
        second.handled.entries.every(({ attempt }) => attempt === 1),
        'no attempt was spent',
      );
    },
    120_000,
  );

  suite.case(
    `Trap 45: ${DEPLOYMENTS} deployments in a row spend no attempt of what was merely prefetched`,
    async (world) => {
      const topic = world.topic();
      const client = await world.client();
      const count = DEPLOYMENTS + 4;
      const ids = await publishOrders(client, topic, count);
      const handled: string[] = [];
      const options = { ...quick('g'), concurrency: 1, prefetch: count };
      for (let round = 1; round <= DEPLOYMENTS; round += 1) {
        const hold = world.gate();
        const each = await world.consume(client, topic, options, () => hold.opened);
        await each.started.count(1);
        const closing = each.consumer.close({ drainMs: 30_000 });
        hold.open();
        await closing;
        assert.ok(
          each.started.entries.every(({ attempt }) => attempt === 1),
          `round ${round}: an attempt was spent`,
        );
        handled.push(...each.handled.ids());
      }
      const last = await world.consume(client, topic, quick('g'));
      await last.handled.all(ids.filter((id) => !handled.includes(id)));
      assert.ok(
        last.handled.entries.every(({ attempt }) => attempt === 1),
        'an attempt was spent',
      );
      assert.equal(await client.deadLetters(topic, 'g').count(), 0);
    },
    180_000,
  );
}
