import assert from 'node:assert/strict';
import { DeadLetter } from '../../src/errors.ts';
import type { Backlog } from '../../src/port.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

const FIELDS = ['ready', 'inFlight', 'delayed', 'dead', 'oldestAgeMs'] as const;

/** What operators see. */
export function stateCases(suite: Suite): void {
  const { capabilities } = suite;
  const tells = new Set<string>(capabilities.backlog);

  suite.case(
    'S30: the backlog tells what waits, runs, is delayed and is dead; what it cannot tell is undefined',
    async (world) => {
      const topic = world.topic();
      const client = await world.client();
      const hold = world.gate();
      const before = Date.now();
      await publishOrders(client, topic, 10);
      /** Polled: some brokers count with a delay. */
      async function shows(what: string, matches: (backlog: Backlog) => boolean): Promise<void> {
        let last: Backlog | undefined;
        await until(what, async () => {
          last = await client.backlog(topic, 'g');
          return matches(last);
        }).catch((error: Error) => assert.fail(`${error.message}: ${JSON.stringify(last)}`));
        for (const field of FIELDS)
          assert.equal(last![field] !== undefined, tells.has(field), `${field} is ${last![field]}`);
      }
      const is = (actual: number | undefined, wanted: number): boolean => actual === undefined || actual === wanted;

      await shows('ten wait', ({ ready, inFlight, dead, oldestAgeMs }) => {
        const age = oldestAgeMs === undefined || (oldestAgeMs >= 0 && oldestAgeMs <= Date.now() - before + 1_000);
        return is(ready, 10) && is(inFlight, 0) && is(dead, 0) && age;
      });
      const { started, handled, consumer } = await world.consume(
        client,
        topic,
        { ...quick('g'), concurrency: 3, prefetch: 4 },
        async ({ payload }) => {
          await hold.opened;
          if (payload.n < 2) throw new DeadLetter('bad');
        },
      );
      await started.count(3);
      await shows('some are in flight', ({ ready, inFlight }) => {
        if (inFlight === undefined || ready === undefined) return ready === undefined || ready <= 10;
        return inFlight >= 3 && inFlight <= 4 && ready + inFlight === 10;
      });
      hold.open();
      await handled.count(8);
      await shows('two are dead', ({ ready, inFlight, dead }) => is(ready, 0) && is(inFlight, 0) && is(dead, 2));
      await consumer.close();
      if (capabilities.delayedPublish !== 'none') {
        await client.publish(topic, { n: 99 }, { delayMs: 600_000 });
        await shows('one is delayed', ({ ready, delayed }) => is(ready, 0) && is(delayed, 1));
      }
    },
  );

  suite.case(
    'S31: a client that works is live and ready; one that closes is not ready, and no reason to restart anything',
    async (world) => {
      const topic = world.topic();
      const client = await world.client();
      const { handled } = await world.consume(client, topic, quick('g'));
      await handled.all(await publishOrders(client, topic, 3));
      const health = await client.health();
      assert.deepEqual(
        { live: health.live, ready: health.ready },
        { live: true, ready: true },
        JSON.stringify(health.checks),
      );
      assert.ok(health.checks.length > 0);
      await client.close();
      const closed = await client.health();
      assert.deepEqual({ live: closed.live, ready: closed.ready }, { live: true, ready: false });
    },
  );

  suite.case('the backlog of one group is not that of another', async (world) => {
    const topic = world.topic({ groups: { one: 'none', two: 'none' } });
    const client = await world.client();
    await publishOrders(client, topic, 5);
    const { handled } = await world.consume(client, topic, quick('one'));
    await handled.count(5);
    if (!tells.has('ready')) return;
    await until('one has nothing left and two everything', async () => {
      const [one, two] = await Promise.all([client.backlog(topic, 'one'), client.backlog(topic, 'two')]);
      return one.ready === 0 && two.ready === 5;
    });
    await assert.rejects(client.backlog(topic, 'three'), { code: 'group-mismatch' });
  });
}
