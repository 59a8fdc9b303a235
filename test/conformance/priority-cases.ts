import assert from 'node:assert/strict';
import type { Priority } from '../../src/port.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** Lanes: high first, low never starved. */
export function priorityCases(suite: Suite): void {
  suite.case('S3: a priority on a topic without lanes is refused', async (world) => {
    const client = await world.client();
    await assert.rejects(client.publish(world.topic(), { n: 0 }, { priority: 'high' }), {
      code: 'invalid-message',
      outcome: 'not-sent',
    });
  });

  if (suite.capabilities.priority === 'none') {
    suite.case('a topic with lanes is refused, not treated as one without', async (world) => {
      const client = await world.client();
      await assert.rejects(client.publish(world.topic({ lanes: true }), { n: 0 }), { code: 'unsupported' });
    });
    return;
  }

  suite.case('G6: high overtakes a backlog of low, and low does not starve', async (world) => {
    const topic = world.topic({ lanes: true });
    const { client, seen } = await world.watched();
    const lows = await publishOrders(client, topic, 80, { prefix: 'low-', options: { priority: 'low' } });
    const highs = await publishOrders(client, topic, 40, { prefix: 'high-', options: { priority: 'high' } });
    const hold = world.gate();
    const lanes: Priority[] = [];
    const options = { ...quick('g'), concurrency: 1, prefetch: 40, laneWeights: { high: 8, normal: 2, low: 1 } };
    const { handled } = await world.consume(client, topic, options, async ({ priority }) => {
      await hold.opened;
      lanes.push(priority);
    });
    // The first call holds the only slot until both lanes have something to choose from.
    await until('both lanes are here', () => seen.unsettled('low') === 40 && seen.unsettled('high') >= 39);
    hold.open();
    await handled.all([...lows, ...highs]);
    const lastHigh = lanes.lastIndexOf('high');
    const overtaking = lanes.slice(0, lastHigh + 1);
    const low = overtaking.filter((lane) => lane === 'low').length;
    // By weight 8:1 five low ones go with forty high ones; the first of all was there before there was a choice.
    assert.ok(low <= 8, `${low} low ones were handled before the last of 40 high ones`);
    assert.ok(low >= 3, `only ${low} low ones were handled beside 40 high ones`);
  });

  suite.case('G6: a high message that comes late does not wait for the backlog', async (world) => {
    const topic = world.topic({ lanes: true });
    const client = await world.client();
    const lows = await publishOrders(client, topic, 400, { prefix: 'low-', options: { priority: 'low' } });
    const late = world.gate();
    const options = { ...quick('g'), concurrency: 1, prefetch: 10 };
    const { handled } = await world.consume(client, topic, options, async ({ priority }) => {
      // Each low one takes a moment, so that there is a backlog for as long as the high one needs to arrive.
      if (priority === 'low' && handled.entries.length < 300) await new Promise((resolve) => setTimeout(resolve, 5));
      if (handled.entries.length === 20) late.open();
    });
    await late.opened;
    await publishOrders(client, topic, 1, { prefix: 'high-', options: { priority: 'high' } });
    await handled.all([...lows, 'high-0']);
    const place = handled.entries.findIndex(({ id }) => id === 'high-0');
    assert.ok(place < 300, `it was number ${place} of 401`);
  });

  suite.case(
    'lanes are independent: a message of each is handled, retried and dead-lettered in its own',
    async (world) => {
      const topic = world.topic({ lanes: true });
      const client = await world.client();
      const lanes: Record<string, Priority> = {};
      const { handled } = await world.consume(client, topic, quick('g', 0, [50]), ({ id, attempt, priority }) => {
        if (id.startsWith('retry-') && attempt === 1) throw new Error('once');
        if (id.startsWith('dead-')) throw new Error('always');
        lanes[id] = priority;
      });
      for (const priority of ['high', 'normal', 'low'] as const) {
        for (const kind of ['done', 'retry', 'dead'])
          await client.publish(topic, { n: 0 }, { id: `${kind}-${priority}`, priority });
      }
      const good = ['high', 'normal', 'low'].flatMap((lane) => [`done-${lane}`, `retry-${lane}`]);
      await handled.all(good);
      for (const id of good) assert.equal(lanes[id], id.split('-')[1]);
      const letters = client.deadLetters(topic, 'g');
      await until('the others are dead letters', async () => (await letters.count()) === 3);
      for await (const letter of letters.list()) assert.equal(letter.priority, letter.id.split('-')[1]);
    },
  );
}
