import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { quick, scriptedTopic } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** Attempts that are counted across processes also where a message stays in its place between them. */
export function attemptCases(suite: Suite): void {
  if (suite.capabilities.order === 'none' || suite.capabilities.marks !== true) return;
  for (const how of ['killed', 'closed'] as const) {
    suite.case(
      `G8: in an ordered group the calls that failed before a process was ${how} count in the next one`,
      async (world) => {
        const script = world.script({ groups: { g: 'key' }, partitions: 1 });
        const topic = scriptedTopic(script);
        const client = await world.client();
        const [id] = await publishOrders(client, topic, 1);
        const victim = await world.victim('fails', { tellAt: 'retry:counted' });
        await victim.consume(script, quick('g', 1, [20, 20, 600_000]), { failUntil: 99 });
        // Two calls each time, counted where its marks are: from the third time on it is held for the last round.
        await victim.passes(3);
        assert.equal(victim.started.entries.length, 6);
        await (how === 'killed' ? victim.kill() : victim.close());
        const { started } = await world.consume(client, topic, quick('g', 1, [20, 20, 20]), () => {
          throw new Error('no');
        });
        const letters = client.deadLetters(topic, 'g');
        await until('it is dead', async () => (await letters.count()) === 1);
        assert.deepEqual(
          started.of(id!).map(({ attempt }) => attempt),
          [7, 8],
        );
        for await (const { attempts } of letters.list()) assert.equal(attempts, 8);
      },
    );
  }
}
