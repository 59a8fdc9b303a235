import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** A consumer whose handlers all fail: its breaker opens, and what fails meanwhile costs no attempt. */
export function breakerCases(suite: Suite): void {
  suite.case('G10: a consumer’s open breaker spends no attempts, and closes once a handler succeeds', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const states: string[] = [];
    client.on('breaker', ({ group, state }) => states.push(`${group} ${state}`));
    let down = true;
    const { handled } = await world.consume(
      client,
      topic,
      { ...quick('g', 3), concurrency: 4, breaker: { failures: 4, resetMs: 300 } },
      () => {
        if (down) throw new Error('the database is away');
      },
    );
    const ids = await publishOrders(client, topic, 20);
    await until('three probes have failed', () => states.filter((state) => state === 'g open').length === 4);
    const check = (await client.health()).checks.find(({ name }) => name === `consume ${topic.name} as g`);
    assert.equal(check?.ok, false);
    down = false;
    await handled.all(ids);
    assert.equal(states.at(-1), 'g closed');
    // Those that failed before it opened have counted: fewer than four calls of four messages.
    const attempts = handled.entries.map(({ attempt }) => attempt);
    assert.ok(Math.max(...attempts) <= 4, `attempts ${attempts}`);
    assert.ok(attempts.reduce((sum, attempt) => sum + attempt - 1, 0) <= 3, `attempts ${attempts}`);
  });

  if (suite.capabilities.order === 'none') return;
  suite.case('G5, G10: an open breaker turns no key’s messages round', async (world) => {
    const topic = world.topic({ groups: { g: 'key' }, partitions: 2 });
    const client = await world.client();
    let opened = 0;
    client.on('breaker', ({ state }) => (opened += state === 'open' ? 1 : 0));
    let down = false;
    const { handled } = await world.consume(
      client,
      topic,
      { ...quick('g', 10), breaker: { failures: 3, resetMs: 200 } },
      ({ payload }) => {
        // Every key comes to such a message, so several fail, however far the one key is ahead of another.
        if (payload.n >= 20) down = opened < 3;
        if (down) throw new Error('the database is away');
      },
    );
    const publishing: Promise<unknown>[] = [];
    const ids: string[] = [];
    for (let n = 0; n < 60; n += 1) {
      ids.push(`m-${n}`);
      publishing.push(client.publish(topic, { n }, { id: `m-${n}`, key: `k${n % 4}` }));
    }
    await Promise.all(publishing);
    await until('it has opened three times', () => opened >= 3);
    down = false;
    await handled.all(ids);
    for (let key = 0; key < 4; key += 1) {
      const order = [...new Set(handled.entries.map(({ id }) => Number(id.slice(2))))].filter((n) => n % 4 === key);
      assert.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
      );
    }
  });
}
