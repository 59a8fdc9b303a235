import assert from 'node:assert/strict';
import { isHoldfastError } from '../../src/errors.ts';
import { assertNoPhantom } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { publishOrders } from './world.ts';

/** Topics and groups as the broker holds them. */
export function groupCases(suite: Suite): void {
  const { capabilities } = suite;

  suite.case('S4: a publisher that was there before a group was declared sends to it too', async (world) => {
    const script = world.script({ groups: { one: 'none' } });
    const publisher = await world.client();
    await publishOrders(publisher, world.topic(script), 1, { prefix: 'before-' });
    const later = world.topic({ ...script, groups: { one: 'none', two: 'none' } });
    const { handled } = await world.consume(await world.client(), later, quick('two'));
    // `later` is another value, the publisher goes on with its own.
    const ids = await publishOrders(publisher, world.topic(script), 5);
    await handled.all(ids);
  });

  suite.case('S1: consuming a group that the topic does not declare adds it, with a warning', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const warnings: string[] = [];
    client.on('warning', ({ code }) => warnings.push(code));
    const { handled } = await world.consume(client, topic, quick('more'));
    assert.deepEqual(warnings.filter((code) => code === 'undeclared-group').length, 1);
    await handled.all(await publishOrders(client, topic, 3));
    await assert.rejects(
      client.consume(topic, { ...quick('other'), order: 'key' }, () => undefined),
      { code: 'group-mismatch' },
    );
  });

  if (capabilities.history) {
    suite.case('S5: a new group begins at the first message, at the next, or at a time, as it says', async (world) => {
      const script = world.script({ groups: { first: 'none' } });
      const client = await world.client();
      const topic = world.topic(script);
      const old = await publishOrders(client, topic, 3, { prefix: 'old-' });
      await new Promise((resolve) => setTimeout(resolve, 20));
      const between = new Date();
      await new Promise((resolve) => setTimeout(resolve, 20));
      const recent = await publishOrders(client, topic, 3, { prefix: 'recent-' });
      const all = await world.consume(client, topic, quick('all'));
      const since = await world.consume(client, topic, { ...quick('since'), from: between });
      const latest = await world.consume(client, topic, { ...quick('latest'), from: 'latest' });
      const fresh = await publishOrders(client, topic, 3, { prefix: 'new-' });
      await all.handled.all([...old, ...recent, ...fresh]);
      await since.handled.all([...recent, ...fresh]);
      await latest.handled.all(fresh);
      assertNoPhantom(since.handled, [...recent, ...fresh]);
      assertNoPhantom(latest.handled, fresh);
    });
  } else {
    suite.case(
      'S5: a new group begins with what is published since it was declared; a date is refused',
      async (world) => {
        const script = world.script({ groups: { first: 'none' } });
        const client = await world.client();
        const topic = world.topic(script);
        await publishOrders(client, topic, 3, { prefix: 'old-' });
        const { handled } = await world.consume(client, topic, quick('new'));
        const ids = await publishOrders(client, topic, 3);
        await handled.all(ids);
        assertNoPhantom(handled, ids);
        await assert.rejects(
          client.consume(topic, { ...quick('dated'), from: new Date() }, () => undefined),
          { code: 'unsupported' },
        );
      },
    );
  }

  suite.case('S2: another number of partitions is refused, by whichever client', async (world) => {
    const script = world.script({ groups: { g: suite.byKey }, partitions: 2 });
    const client = await world.client();
    await publishOrders(client, world.topic(script), 1);
    const other = await world.client();
    await assert.rejects(other.publish(world.topic({ ...script, partitions: 3 }), { n: 0 }), {
      code: 'topology-conflict',
      outcome: 'not-sent',
    });
    await publishOrders(other, world.topic(script), 1);
  });

  if (suite.byKey === 'key') {
    suite.case(
      'S1: a group that is declared with another order is refused, or goes on and loses nothing',
      async (world) => {
        const script = world.script({ groups: { g: 'key' }, partitions: 2 });
        const client = await world.client();
        const ids = await publishOrders(client, world.topic(script), 5);
        const other = await world.client();
        const changed = world.topic({ ...script, groups: { g: 'none' } });
        try {
          const { handled } = await world.consume(other, changed, quick('g'));
          // Where the broker's objects are the same either way, as Kafka's are.
          await handled.all(ids);
        } catch (error) {
          assert.ok(isHoldfastError(error) && error.code === 'topology-conflict', String(error));
        }
      },
    );
  }

  suite.case('declare: verify creates nothing and says what is missing, none trusts', async (world) => {
    const script = world.script();
    const verifier = await world.client({ declare: 'verify' });
    await assert.rejects(verifier.publish(world.topic(script), { n: 0 }), {
      code: 'topology-missing',
      outcome: 'not-sent',
    });
    // Some of a group's objects are created by its first consumer.
    const creator = await world.client();
    const first = await world.consume(creator, world.topic(script), quick('g'));
    await first.handled.all(await publishOrders(creator, world.topic(script), 1));
    await first.consumer.close();
    for (const declare of ['verify', 'none'] as const) {
      const client = declare === 'verify' ? verifier : await world.client({ declare });
      const ids = await publishOrders(client, world.topic(script), 2, { prefix: `${declare}-` });
      const { consumer, handled } = await world.consume(client, world.topic(script), quick('g'));
      await handled.all(ids);
      await consumer.close();
    }
  });

  suite.case('many clients may declare, publish and consume at once from the start', async (world) => {
    const script = world.script({ groups: { g: 'none', h: suite.byKey }, partitions: 3 });
    const clients = await Promise.all(Array.from({ length: 5 }, () => world.client()));
    const published = await Promise.all(
      clients.map((client, index) => publishOrders(client, world.topic(script), 10, { prefix: `c${index}-` })),
    );
    const { handled } = await world.consume(clients[0]!, world.topic(script), quick('h'));
    await handled.all(published.flat());
  });
}
