import assert from 'node:assert/strict';
import { nowMicros } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';

const HOUR_MS = 3_600_000;
const DELAY_MS = 2_000;
/** Between two processes of one machine, and for brokers that keep times by the millisecond. */
const CLOCK_MS = 5;

/** Processes whose clocks on the wall are wrong. */
export function clockCases(suite: Suite): void {
  if (!suite.capabilities.multiProcess || suite.clock === 'machine') return;
  const { delayedPublish } = suite.capabilities;

  suite.case(
    'Trap 49: a clock that is an hour wrong, at a publisher or a consumer, ends no delay early, nor an hour late',
    async (world) => {
      const groups = { ahead: 'none', behind: 'none' } as const;
      const script = world.script({ groups });
      await (await world.client()).publish(world.topic(script), { n: 999 });
      const victims = await Promise.all([
        world.victim('ahead', { clockAheadMs: HOUR_MS }),
        world.victim('behind', { clockAheadMs: -HOUR_MS }),
      ]);
      for (const victim of victims) {
        await victim.consume(script, { ...quick(victim.name, 0, [DELAY_MS]), concurrency: 20 }, { failUntil: 1 });
      }
      const sent = new Map<string, number>();
      const orders = [0, 1, 2].map((n) => ({ n }));
      for (const victim of victims) {
        for (const { n } of orders) sent.set(`${victim.name}-${n}`, nowMicros());
        victim.publish(script, orders, `${victim.name}-`, delayedPublish === 'none' ? {} : { delayMs: DELAY_MS });
      }
      for (const { name, started, handled } of victims) {
        await handled.all(sent.keys());
        for (const [id, sentAt] of sent) {
          const [first, second] = started.of(id);
          const waited = (first!.at - sentAt) / 1_000;
          const again = (second!.at - first!.at) / 1_000;
          const least = DELAY_MS - CLOCK_MS;
          assert.ok(delayedPublish === 'none' || waited >= least, `${id} came to ${name} after ${waited} ms`);
          assert.ok(again >= least, `${id} came to ${name} again after ${again} ms`);
          assert.equal(second!.attempt, 2);
        }
      }
    },
    120_000,
  );
}
