import assert from 'node:assert/strict';
import type { Source } from '../../src/port.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** A consumer that is subscribed and gets nothing. */
export function stallCases(suite: Suite): void {
  // Where nobody can tell what waits, silence says nothing.
  if (!suite.capabilities.backlog.includes('ready')) return;
  suite.case(
    'S31: a stall is seen: nothing comes to a consumer though messages wait: health is red, live, and names its topic and group',
    async (world) => {
      const adapter = world.suite.adapter();
      const sources: Source[] = [];
      const client = await world.client({
        adapter: {
          ...adapter,
          async subscribe(subscription, receive) {
            const source = await adapter.subscribe(subscription, receive);
            if (subscription.group === 'deaf') {
              source.pause();
              sources.push(source);
            }
            return source;
          },
        },
      });
      const topic = world.topic({ groups: { deaf: 'none', g: 'none' } });
      const options = { ...quick('deaf'), timeoutMs: 1_000 };
      const deaf = await world.consume(client, topic, options);
      const other = await world.consume(client, topic, { ...options, group: 'g' });
      const ids = await publishOrders(client, topic, 3);
      await other.handled.all(ids);
      const name = `consume ${topic.name} as deaf`;
      const reds = async (): Promise<string> => {
        const { live, ready, checks } = await client.health();
        assert.ok(live, 'nothing to restart for');
        const red = checks.filter(({ ok }) => !ok).map((check) => check.name);
        assert.equal(ready, red.length === 0);
        return red.join(', ');
      };
      await until('health is red for this consumer alone', async () => (await reds()) === name, 90_000);
      for (const source of sources) source.resume();
      await deaf.handled.all(ids);
      await until('health is green', async () => (await reds()) === '');
    },
    150_000,
  );
}
