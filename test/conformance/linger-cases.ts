import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { publishOrders } from './world.ts';

/** How publishes become batches. */
export function lingerCases(suite: Suite): void {
  suite.case('S10: a publish that is alone leaves at once; a batch forms only under load', async (world) => {
    const adapter = world.suite.adapter();
    const batches: { readonly ids: readonly string[]; readonly turns: number }[] = [];
    // Turns of the event loop since the publish: a timer, however short, would be one at the least.
    let turns = 0;
    const client = await world.client({
      adapter: {
        ...adapter,
        publish(batch, limit) {
          batches.push({ ids: batch.map(({ id }) => id), turns });
          return adapter.publish(batch, limit);
        },
      },
    });
    const topic = world.topic();
    await client.publish(topic, { n: 0 }, { id: 'declares' });
    batches.length = 0;

    for (let n = 0; n < 20; n += 1) {
      // Nothing is in flight any more, nor about to end and take the next with it.
      await new Promise((resolve) => setImmediate(resolve));
      turns = 0;
      const count = setImmediate(() => (turns += 1));
      await client.publish(topic, { n }, { id: `alone-${n}` });
      clearImmediate(count);
    }
    assert.deepEqual(
      batches,
      Array.from({ length: 20 }, (_, n) => ({ ids: [`alone-${n}`], turns: 0 })),
    );

    batches.length = 0;
    const ids = await publishOrders(client, topic, 400, { prefix: 'load-' });
    assert.deepEqual(batches.flatMap((batch) => batch.ids).sort(), [...ids].sort());
    assert.ok(batches.length < 200, `${batches.length} calls for 400 publishes at once`);
  });
}
