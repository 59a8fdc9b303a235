import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { pace } from './pace.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

const PER_SECOND = 40;

/** A group's rate, whoever consumes it in this client. */
export function rateCases(suite: Suite): void {
  suite.case(
    'a group’s ratePerSecond holds for its consumers in a client together, retries included',
    async (world) => {
      const topic = world.topic({ partitions: 2 });
      const client = await world.client();
      const calls = pace();
      world.defer(calls.end);
      const options = { ...quick('g', 1), concurrency: 6, ratePerSecond: PER_SECOND };
      const work = ({ attempt }: { readonly attempt: number }): void => {
        calls.begins();
        if (attempt === 1) throw new Error('once');
      };
      const [one, two] = [
        await world.consume(client, topic, options, work),
        await world.consume(client, topic, { ...options, ratePerSecond: PER_SECOND * 10 }, work),
      ];
      const ids = await publishOrders(client, topic, 16);
      await until('all are handled', () => new Set([...one.handled.ids(), ...two.handled.ids()]).size === ids.length);
      assert.ok(calls.starts.length >= 32);
      calls.assertAtMost(PER_SECOND);
    },
  );
}
