import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertNoPhantom, assertOrder } from './ledger.ts';
import type { Suite } from './options.ts';
import { idsOf, publishKeyed } from './order-cases.ts';
import { quick, scriptedTopic } from './script.ts';
import { publishOrders } from './world.ts';

/** What happens when a process is killed in the middle. */
export function deathCases(suite: Suite): void {
  suite.case('G3: what a consumer was handling when it was killed is handled by another', async (world) => {
    const script = world.script();
    const topic = scriptedTopic(script);
    const client = await world.client();
    const victim = await world.victim('dies');
    await victim.consume(script, { ...quick('g'), concurrency: 5 }, { holdFrom: 10 });
    const ids = await publishOrders(client, topic, 30);
    await victim.started.when(
      () => 'five calls that hang',
      () => victim.started.entries.filter(({ n }) => n >= 10).length >= 5,
    );
    await victim.kill();
    const { handled } = await world.consume(client, topic, quick('g'));
    const unhandled = ids.filter((id) => !victim.handled.ids().has(id));
    assert.ok(unhandled.length >= 20);
    await handled.all(unhandled);
    assertNoPhantom(handled, ids);
    assert.deepEqual(
      handled.of(unhandled[0]!).map(({ attempt }) => attempt),
      [1],
    );
  });

  suite.case('G3: a consumer that lives takes over from one that is killed, without being asked', async (world) => {
    const script = world.script({ partitions: 4 });
    const topic = scriptedTopic(script);
    const client = await world.client();
    let busy = true;
    // Busy at first, so that there is something left for the other.
    const options = { ...quick('g'), concurrency: 2, prefetch: 4 };
    const { handled } = await world.consume(client, topic, options, () => (busy ? sleep(20) : undefined));
    const victim = await world.victim('dies');
    await victim.consume(script, options, { holdFrom: 0 });
    const ids: string[] = [];
    while (victim.started.entries.length === 0) {
      assert.ok(ids.length < 2_000, 'the victim got nothing');
      ids.push(...(await publishOrders(client, topic, 40, { from: ids.length })));
      await victim.started.count(1, 400).catch(() => undefined);
    }
    busy = false;
    await victim.kill();
    await handled.all(ids);
    assertNoPhantom(handled, ids);
  });

  suite.case(
    'G1, G2: after a kill amid publishing and handling, what was confirmed is handled, and nothing that was never published',
    async (world) => {
      const script = world.script();
      const topic = scriptedTopic(script);
      const client = await world.client();
      const { multiProcess } = world.suite.capabilities;
      // By its own hand: whoever watches it may be too slow to find it in the middle.
      const victim = await world.victim('dies', multiProcess ? { dieAfter: { confirmed: 50, started: 10 } } : {});
      await victim.consume(script, { ...quick('g'), concurrency: 20 }, { holdFrom: 0 });
      await publishOrders(client, topic, 1, { prefix: 'other-' });
      const orders = Array.from({ length: 8_000 }, (_, n) => ({ n }));
      victim.publish(script, orders, 'm-');
      await (multiProcess ? victim.died() : victim.confirms(50));
      await victim.kill();
      const confirmed = victim.confirmed;
      if (multiProcess) {
        assert.ok(confirmed.size <= 7_900, `${8_000 - confirmed.size} publishes were unconfirmed when it was killed`);
        const unsettled = victim.started.entries.length - victim.handled.entries.length;
        assert.ok(unsettled >= 10, `${unsettled} deliveries were unsettled when it was killed`);
      }
      const { handled } = await world.consume(client, topic, { ...quick('g'), concurrency: 50 });
      await handled.all([...confirmed, 'other-0']);
      assertNoPhantom(handled, ['other-0', ...orders.map(({ n }) => `m-${n}`)]);
    },
  );

  if (suite.capabilities.order !== 'none') {
    suite.case(
      'G5: a killed consumer’s keys go on in order elsewhere, from the message that it was handling',
      async (world) => {
        const script = world.script({ groups: { g: 'key' }, partitions: 2 });
        const topic = scriptedTopic(script);
        const client = await world.client();
        const victim = await world.victim('dies');
        await victim.consume(script, { ...quick('g'), concurrency: 6 }, { holdFrom: 4 });
        const keys = await publishKeyed(client, topic, ['a', 'b', 'c', 'd'], 12);
        await victim.started.when(
          () => 'each key at its fifth message',
          () => victim.started.entries.filter(({ n }) => n === 4).length === 4,
        );
        await victim.kill();
        const { handled } = await world.consume(client, topic, quick('g'));
        const rest = new Map([...keys].map(([key, ns]) => [key, ns.filter((n) => n >= 4)]));
        await handled.all(idsOf(rest));
        assertOrder([...victim.handled.entries, ...handled.entries], keys);
      },
    );
  }
}
