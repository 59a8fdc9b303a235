import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/client.ts';
import type { Topic } from '../../src/topic.ts';
import { assertOrder, type Order } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick, scriptedTopic } from './script.ts';

/** Publishes `each` orders per key at once, in order per key; returns what each key's sequence must be. */
export async function publishKeyed(
  client: Client,
  topic: Topic<Order>,
  keys: readonly string[],
  each: number,
  from = 0,
): Promise<Map<string, readonly number[]>> {
  const orders = Array.from({ length: each }, (_, index) =>
    keys.map((key): Order => ({ key, n: from + index })),
  ).flat();
  const results = await client.publishAll(topic, orders, ({ key, n }) => ({ id: idOf(key!, n) }));
  for (const result of results) if (!result.ok) throw result.error;
  return new Map(keys.map((key) => [key, Array.from({ length: each }, (_, index) => from + index)]));
}
export const idOf = (key: string, n: number): string => `${key}#${n}`;
export const idsOf = (keys: ReadonlyMap<string, readonly number[]>): readonly string[] =>
  [...keys].flatMap(([key, ns]) => ns.map((n) => idOf(key, n)));

const names = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `key-${index}`);

/** G5: first successful handlings of a key come in the order in which its messages were accepted. */
export function orderCases(suite: Suite): void {
  if (suite.capabilities.order === 'none') {
    suite.case('an ordered group is refused, not treated as unordered', async (world) => {
      const client = await world.client();
      const topic = world.topic({ groups: { g: 'key' } });
      await assert.rejects(
        client.consume(topic, quick('g'), () => undefined),
        { code: 'unsupported' },
      );
    });
    return;
  }

  suite.case('G5: messages of a key are handled one at a time, in order, however long each takes', async (world) => {
    const topic = world.topic({ groups: { g: 'key' }, partitions: 4 });
    const client = await world.client();
    const running = new Set<string>();
    const { handled } = await world.consume(client, topic, { ...quick('g'), concurrency: 12 }, async ({ key }) => {
      assert.ok(!running.has(key!), `two of ${key} at once`);
      running.add(key!);
      await sleep(Math.random() * 6);
      running.delete(key!);
    });
    const keys = await publishKeyed(client, topic, names(10), 30);
    await handled.all(idsOf(keys));
    assertOrder(handled.entries, keys);
  });

  suite.case('G5: different keys do not wait for each other', async (world) => {
    const topic = world.topic({ groups: { g: 'key' }, partitions: 1 });
    const client = await world.client();
    const hold = world.gate();
    const { handled } = await world.consume(client, topic, quick('g'), ({ key }) =>
      key === 'key-0' ? hold.opened : undefined,
    );
    const keys = await publishKeyed(client, topic, names(4), 5);
    const others = idsOf(keys).filter((id) => !id.startsWith('key-0'));
    await handled.all(others);
    hold.open();
    await handled.all(idsOf(keys));
    assertOrder(handled.entries, keys);
  });

  suite.case('G5: a failing message holds up its key until it succeeds, at once or after a delay', async (world) => {
    const topic = world.topic({ groups: { g: 'key' }, partitions: 4 });
    const client = await world.client();
    const { started, handled } = await world.consume(
      client,
      topic,
      { ...quick('g', 1, [40]), concurrency: 10 },
      async ({ payload, attempt }) => {
        await sleep(Math.random() * 3);
        // Every seventh by the delay, every fifth at once.
        if (payload.n % 7 === 3 && attempt <= 2) throw new Error('twice');
        if (payload.n % 5 === 1 && attempt === 1) throw new Error('once');
      },
    );
    const keys = await publishKeyed(client, topic, names(6), 20);
    await handled.all(idsOf(keys));
    assertOrder(handled.entries, keys);
    assert.deepEqual(
      started.of(idOf('key-0', 3)).map(({ attempt }) => attempt),
      [1, 2, 3],
    );
  });

  suite.case('G5: a message that is given up lets its successors go, in order', async (world) => {
    const topic = world.topic({ groups: { g: 'key' }, partitions: 2 });
    const client = await world.client();
    const { handled } = await world.consume(client, topic, quick('g', 0, [30]), ({ payload }) => {
      if (payload.n === 4) throw new Error('always');
    });
    const keys = await publishKeyed(client, topic, names(3), 10);
    const good = new Map([...keys].map(([key, ns]) => [key, ns.filter((n) => n !== 4)]));
    await handled.all(idsOf(good));
    assertOrder(handled.entries, good);
    assert.equal(await client.deadLetters(topic, 'g').count(), 3);
  });

  suite.case('G5: order holds while consumers come and go', async (world) => {
    const script = world.script({ groups: { g: 'key' }, partitions: 4 });
    const topic = scriptedTopic(script);
    const publisher = await world.client();
    const [one, two] = await Promise.all([world.client(), world.client()]);
    const work = async (): Promise<void> => sleep(Math.random() * 4);
    const first = await world.consume(one, topic, { ...quick('g'), concurrency: 10 }, work);
    const early = await publishKeyed(publisher, topic, names(8), 20);
    await first.handled.count(20);
    const second = await world.consume(two, topic, { ...quick('g'), concurrency: 10 }, work);
    const late = await publishKeyed(publisher, topic, names(8), 20, 20);
    await first.handled.count(60);
    await first.consumer.close();
    const keys = new Map([...early].map(([key, ns]) => [key, [...ns, ...late.get(key)!]]));
    await second.handled.when(
      () => 'the rest',
      () => new Set([...first.handled.ids(), ...second.handled.ids()]).size === idsOf(keys).length,
    );
    assertOrder([...first.handled.entries, ...second.handled.entries], keys);
  });

  suite.case('G5: order holds when one of two processes is killed in the middle', async (world) => {
    const script = world.script({ groups: { g: 'key' }, partitions: 4 });
    const topic = scriptedTopic(script);
    const publisher = await world.client();
    const victims = await Promise.all([world.victim('one'), world.victim('two')]);
    for (const victim of victims) await victim.consume(script, { ...quick('g'), concurrency: 10 }, { upToMs: 6 });
    const early = await publishKeyed(publisher, topic, names(8), 40);
    const [one, two] = victims as [(typeof victims)[0], (typeof victims)[0]];
    const total = (): number => one.handled.entries.length + two.handled.entries.length;
    await Promise.race(
      [one, two].map(({ handled }) =>
        handled.when(
          () => 'some handlings',
          () => total() >= 60,
        ),
      ),
    );
    // The one that holds more: who gets which shard is the broker's affair.
    const [dying, living] = one.handled.entries.length > two.handled.entries.length ? [one, two] : [two, one];
    await dying.kill();
    const late = await publishKeyed(publisher, topic, names(8), 10, 40);
    const keys = new Map([...early].map(([key, ns]) => [key, [...ns, ...late.get(key)!]]));
    await living.handled.when(
      () => `the rest, ${total()} of ${idsOf(keys).length}`,
      () => new Set([...dying.handled.ids(), ...living.handled.ids()]).size === idsOf(keys).length,
    );
    assertOrder([...dying.handled.entries, ...living.handled.entries], keys);
  });

  suite.case(
    'an ordered group refuses a message without a key, and a consumer that asks for another order',
    async (world) => {
      const client = await world.client();
      const topic = world.topic({ groups: { g: 'key', plain: 'none' } });
      await assert.rejects(
        client.consume(topic, { ...quick('g'), order: 'none' }, () => undefined),
        { code: 'group-mismatch' },
      );
      await assert.rejects(
        client.consume(topic, { ...quick('plain'), order: 'key' }, () => undefined),
        { code: 'group-mismatch' },
      );
    },
  );
}
