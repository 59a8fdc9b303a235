import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { publishOrders } from './world.ts';

const PER_SECOND = 40;
/** What a late timer may have left to be caught up with, and the clock's own coarseness. */
const SLACK_MS = 1_000 / PER_SECOND + 15;

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
      for (const [first, at] of starts.entries()) {
        for (const [more, later] of starts.slice(first + 1).entries()) {
          const least = ((more + 1) * 1_000) / PER_SECOND - SLACK_MS;
          assert.ok(later - at >= least, `${more + 2} calls began within ${Math.round(later - at)} ms`);
        }
      }
    },
  );
}
