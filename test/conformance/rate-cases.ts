import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { publishOrders } from './world.ts';

const PER_SECOND = 40;
/** A group's rate, whoever consumes it in this client. */
export function rateCases(suite: Suite): void {
  suite.case(
    'a group’s ratePerSecond holds for its consumers in a client together, retries included',
    async (world) => {
      const topic = world.topic({ partitions: 2 });
      const client = await world.client();
      const starts: number[] = [];
      const options = { ...quick('g', 1), concurrency: 6, ratePerSecond: PER_SECOND };
      const work = ({ attempt }: { readonly attempt: number }): void => {
        starts.push(performance.now());
        if (attempt === 1) throw new Error('once');
      };
      const [one, two] = [
        await world.consume(client, topic, options, work),
        await world.consume(client, topic, { ...options, ratePerSecond: PER_SECOND * 10 }, work),
      ];
      const ids = await publishOrders(client, topic, 16);
      const both = (): number => new Set([...one.handled.ids(), ...two.handled.ids()]).size;
      await Promise.race(
        [one, two].map(({ handled }) =>
          handled.when(
            () => `${both()} of ${ids.length}`,
            () => both() === ids.length,
          ),
        ),
      );
      assert.ok(starts.length >= 32);
      // Of the whole, since a busy machine may delay one call towards the next: each by itself would start ten times as fast.
      const tookMs = starts.at(-1)! - starts[0]!;
      const leastMs = (0.7 * (starts.length - 1) * 1_000) / PER_SECOND;
      assert.ok(tookMs >= leastMs, `${starts.length} calls took ${Math.round(tookMs)} ms, not ${leastMs}`);
    },
  );
}
