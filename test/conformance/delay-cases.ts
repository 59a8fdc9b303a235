import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { quick } from './script.ts';

/** Clocks of two processes of one machine agree to the millisecond, no better. */
const CLOCK_MS = 2;

/** Messages for later. */
export function delayCases(suite: Suite): void {
  const { capabilities } = suite;
  if (capabilities.delayedPublish === 'none') {
    suite.case('a delayed publish is refused, not sent at once', async (world) => {
      const client = await world.client();
      await assert.rejects(client.publish(world.topic(), { n: 0 }, { delayMs: 100 }), {
        code: 'unsupported',
        outcome: 'not-sent',
      });
    });
    return;
  }

  suite.case('a delayed message is not early, and does not hold up others', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const at = new Map<string, number>();
    const { handled } = await world.consume(client, topic, quick('g'), ({ id }) => void at.set(id, Date.now()));
    const start = Date.now();
    const delays = [1_200, 300, 0];
    await Promise.all(delays.map((delayMs) => client.publish(topic, { n: delayMs }, { id: `d-${delayMs}`, delayMs })));
    await handled.all(delays.map((delayMs) => `d-${delayMs}`));
    for (const delayMs of delays) {
      const took = at.get(`d-${delayMs}`)! - start;
      assert.ok(took >= delayMs - CLOCK_MS, `a delay of ${delayMs} ms ended after ${took} ms`);
    }
    const order = handled.entries.map(({ id }) => id);
    assert.ok(order.indexOf('d-0') < order.indexOf('d-1200'), `handled ${order.join(', ')}`);
    const late = at.get('d-1200')! - start - 1_200;
    // Generous: what is measured here is the machine as well.
    assert.ok(late <= 5_000, `a delay of 1200 ms ended ${late} ms late`);
  });

  suite.case('a delayed message is kept while nobody consumes, and goes to every group', async (world) => {
    const topic = world.topic({ groups: { one: 'none', two: 'none' } });
    const publisher = await world.client();
    await publisher.publish(topic, { n: 0 }, { id: 'later', delayMs: 300, headers: { a: 'b' }, key: 'k' });
    await publisher.close();
    const client = await world.client();
    const headers: unknown[] = [];
    const consumed = await Promise.all(
      ['one', 'two'].map((group) =>
        world.consume(
          client,
          topic,
          quick(group),
          (message) => void headers.push({ ...message.headers, key: message.key }),
        ),
      ),
    );
    for (const { handled } of consumed) await handled.all(['later']);
    assert.deepEqual(headers, [
      { a: 'b', key: 'k' },
      { a: 'b', key: 'k' },
    ]);
  });

  if (suite.byKey === 'none') return;
  suite.case('S14: delay and order exclude each other', async (world) => {
    const client = await world.client();
    const topic = world.topic({ groups: { g: 'key' } });
    await assert.rejects(client.publish(topic, { n: 0, key: 'a' }, { delayMs: 100 }), {
      code: 'invalid-message',
      outcome: 'not-sent',
    });
  });
}
