import assert from 'node:assert/strict';
import { memoryDedupe } from '../../src/consume/dedupe.ts';
import { publishRaw } from './dead-letter-cases.ts';
import type { Observed } from './observe.ts';
import type { Suite } from './options.ts';
import { quick, scriptedTopic } from './script.ts';
import { until } from './until.ts';

/** The same message three times: one effect. */
export function onceCases(suite: Suite): void {
  const storedOnce = suite.capabilities.publishDedupe === 'window';
  /** All in one partition; where there is order, the last of the key proves that the others have passed. */
  const oneKey = { groups: { g: suite.byKey }, partitions: 1 };
  /** Elsewhere, that so many were delivered, and settled, does. */
  async function passed(seen: Observed, deliveries: number): Promise<void> {
    if (suite.byKey === 'key') return;
    await until('all have passed', () => seen.deliveries.length >= deliveries && seen.unsettled() === 0);
  }

  suite.case('S12: with dedupe, what is published three times with one id is handled once', async (world) => {
    const topic = world.topic(oneKey);
    const { client, seen } = await world.watched();
    const { started, handled } = await world.consume(client, topic, { ...quick('g'), dedupe: memoryDedupe() });
    for (const id of ['same', 'same', 'same', 'last']) await client.publish(topic, { n: 0, key: 'k' }, { id });
    await handled.all(['last']);
    await passed(seen, storedOnce ? 2 : 4);
    assert.equal(started.of('same').length, 1);
  });

  suite.case('S12: the dedupe key decides, where there is one', async (world) => {
    const topic = world.topic(oneKey);
    const { client, seen } = await world.watched();
    const { started, handled } = await world.consume(client, topic, { ...quick('g'), dedupe: memoryDedupe() });
    for (const id of ['one', 'two', 'three'])
      await client.publish(topic, { n: 0, key: 'k' }, { id, dedupeKey: 'the same order' });
    await client.publish(topic, { n: 0, key: 'k' }, { id: 'last' });
    await handled.all(['last']);
    await passed(seen, storedOnce ? 2 : 4);
    const ids = started.entries.map(({ id }) => id);
    if (suite.byKey === 'key') assert.deepEqual(ids, ['one', 'last']);
    assert.equal(ids.length, 2, `handled ${ids.join(', ')}`);
  });

  suite.case('with dedupe, a message that failed is handled again', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const { started, handled } = await world.consume(
      client,
      topic,
      { ...quick('g', 1, [50]), dedupe: memoryDedupe() },
      ({ attempt }) => {
        if (attempt < 4) throw new Error('not yet');
      },
    );
    await client.publish(topic, { n: 0 }, { id: 'm-0' });
    await handled.all(['m-0']);
    assert.equal(started.entries.length, 4);
  });

  suite.case(
    'G4: with an inbox, what is published three times with one id has one effect, per group',
    async (world) => {
      const topic = world.topic({ groups: { g: suite.byKey, other: suite.byKey } });
      const { inbox, close } = await world.suite.inbox();
      world.defer(close);
      const { client, seen } = await world.watched();
      const effects: string[] = [];
      const consumed = await Promise.all(
        ['g', 'other'].map((group) =>
          world.consume(client, topic, { ...quick(group), inbox: inbox as never }, ({ id }, { tx }) => {
            assert.ok(tx !== undefined, 'the handler has a transaction');
            effects.push(`${group} ${id}`);
          }),
        ),
      );
      for (const id of ['same', 'same', 'same', 'last']) await client.publish(topic, { n: 0, key: 'k' }, { id });
      for (const { handled } of consumed) await handled.all(['last']);
      await passed(seen, storedOnce ? 4 : 8);
      assert.deepEqual(effects.sort(), ['g last', 'g same', 'other last', 'other same']);
    },
  );

  suite.case('G4: an effect that was rolled back is made again', async (world) => {
    const topic = world.topic();
    const { inbox, close } = await world.suite.inbox();
    world.defer(close);
    const client = await world.client();
    const { started, handled } = await world.consume(
      client,
      topic,
      { ...quick('g', 1), inbox: inbox as never },
      ({ attempt }) => {
        if (attempt === 1) throw new Error('rolls back');
      },
    );
    await client.publish(topic, { n: 0 }, { id: 'm-0' });
    await handled.all(['m-0']);
    assert.equal(started.entries.length, 2);
  });

  suite.case('G4: a message handled before a crash, but not settled, has no second effect', async (world) => {
    const script = world.script();
    const topic = scriptedTopic(script);
    const { inbox, close } = await world.suite.inbox();
    world.defer(close);
    const client = await world.client();
    // Its effect is committed, though the broker never hears of it: as after a crash between commit and settlement.
    const claim = { group: 'g', topic: topic.name, identity: 'id:conformance/m-0' };
    await inbox.run([claim], new AbortController().signal, async () => undefined);
    const duplicates: string[] = [];
    client.on('duplicate', ({ id }) => duplicates.push(id));
    const { started, handled } = await world.consume(client, topic, { ...quick('g'), inbox: inbox as never });
    await client.publish(topic, { n: 0 }, { id: 'm-0' });
    await client.publish(topic, { n: 1 }, { id: 'm-1' });
    await handled.all(['m-1']);
    await until('it was told to be a duplicate', () => duplicates.includes('m-0'));
    assert.equal(started.of('m-0').length, 0);
  });

  if (storedOnce) {
    suite.case('S12: a resend within the window is confirmed and stored once', async (world) => {
      const topic = world.topic(oneKey);
      const { client, seen } = await world.watched();
      const { started, handled } = await world.consume(client, topic, quick('g'));
      for (const id of ['same', 'same', 'same', 'last']) await client.publish(topic, { n: 0, key: 'k' }, { id });
      await handled.all(['last']);
      await passed(seen, 2);
      assert.equal(started.of('same').length, 1);
    });
  }

  suite.case('S12: two services may use the same id', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const { started } = await world.consume(client, topic, { ...quick('g'), dedupe: memoryDedupe() });
    const body = new TextEncoder().encode('{"n":0}');
    await publishRaw(world, topic, body, { id: 'same', source: 'one' });
    await publishRaw(world, topic, body, { id: 'same', source: 'two' });
    await started.count(2);
  });
}
