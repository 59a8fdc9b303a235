import assert from 'node:assert/strict';
import { memoryHalts } from '../../src/consume/memory-halts.ts';
import { assertOrder } from './ledger.ts';
import type { Suite } from './options.ts';
import { idOf, idsOf, publishKeyed } from './order-cases.ts';
import { quick } from './script.ts';
import { until } from './until.ts';

/** A key whose message cannot be handled stands still until it is released. */
export function haltCases(suite: Suite): void {
  suite.case('S27: halted keys are refused where there is no order, or no store', async (world) => {
    const client = await world.client();
    const topic = world.topic({ groups: { g: 'none' } });
    const nothing = (): undefined => undefined;
    await assert.rejects(
      client.consume(topic, { group: 'g', onExhausted: 'halt-key', halts: memoryHalts() }, nothing),
      { code: 'invalid-option' },
    );
    await assert.rejects(client.consume(topic, { group: 'g', onExhausted: 'halt-key' }, nothing), TypeError);
    await assert.rejects(client.consume(topic, { group: 'g', halts: memoryHalts() }, nothing), TypeError);
  });
  if (suite.capabilities.order === 'none') return;

  suite.case(
    'S27: behind a message that cannot be handled its key stands still and others go on; a release handles all in order, new ones behind',
    async (world) => {
      const topic = world.topic({ groups: { g: 'key' }, partitions: 2 });
      const client = await world.client();
      const halts = memoryHalts();
      const letters = client.deadLetters(topic, 'g');
      let broken = true;
      const [reached, go] = [world.gate(), world.gate()];
      const options = { ...quick('g', 1), onExhausted: 'halt-key', halts } as const;
      const { handled } = await world.consume(client, topic, options, async ({ key, payload: { n } }) => {
        if (broken && key === 'a' && n === 1) throw new Error('not now');
        if (key !== 'a' || n !== 3) return;
        reached.open();
        await go.opened;
      });
      const keys = await publishKeyed(client, topic, ['a', 'b', 'c'], 5);
      const others = new Map([...keys].filter(([key]) => key !== 'a'));
      await handled.all([idOf('a', 0), ...idsOf(others)]);
      await until('the rest of the key waits', async () => (await letters.count()) === 4);
      assert.deepEqual(handled.of(idOf('a', 2)), []);
      const found = [];
      for await (const { id, reason, attempts } of letters.list()) found.push([id, reason, attempts]);
      const parked = [2, 3, 4].map((n) => [idOf('a', n), 'halted', 0]);
      assert.deepEqual(found.sort(), [[idOf('a', 1), 'halted', 2], ...parked]);
      const standing = await letters.halted({ halts });
      assert.deepEqual(
        standing.map(({ key, releasing, parked }) => ({ key, releasing, parked })),
        [{ key: 'a', releasing: false, parked: 4 }],
      );

      broken = false;
      const releasing = letters.release('a', { halts });
      await reached.opened;
      await publishKeyed(client, topic, ['a', 'b'], 3, 5);
      go.open();
      const released = await releasing;
      assert.deepEqual({ ...released, handled: 0 }, { state: 'free', handled: 0, left: 0 });
      assert.deepEqual(await letters.halted({ halts }), []);
      await publishKeyed(client, topic, ['a'], 2, 8);
      const all = new Map([
        ['a', Array.from({ length: 10 }, (_, n) => n)],
        ['b', Array.from({ length: 8 }, (_, n) => n)],
        ['c', [0, 1, 2, 3, 4]],
      ]);
      await handled.all(idsOf(all));
      assertOrder(handled.entries, all);
      await until('no letter is left', async () => (await letters.count()) === 0);
    },
    120_000,
  );

  suite.case(
    'S27: what fails again in a release halts its key again, in front of the others; another consumer keeps to it',
    async (world) => {
      const topic = world.topic({ groups: { g: 'key' }, partitions: 1 });
      const client = await world.client();
      const halts = memoryHalts();
      const letters = client.deadLetters(topic, 'g');
      let failing = 1;
      const options = { ...quick('g'), onExhausted: 'halt-key', halts } as const;
      const work = ({ key, payload: { n } }: { key: string | undefined; payload: { n: number } }): void => {
        if (key === 'a' && n === failing) throw new Error('not now');
      };
      const first = await world.consume(client, topic, options, work);
      await publishKeyed(client, topic, ['a'], 4);
      await until('three wait', async () => (await letters.count()) === 3);
      assert.equal((await letters.release('a', { halts })).state, 'halted');
      failing = 2;
      assert.deepEqual(await letters.release('a', { halts }), { state: 'halted', handled: 1, left: 2 });
      await until('two wait', async () => (await letters.count()) === 2);
      await first.consumer.close();

      const { handled } = await world.consume(await world.client(), topic, options, work);
      await publishKeyed(client, topic, ['a', 'b'], 2, 4);
      await handled.all([idOf('b', 4), idOf('b', 5)]);
      await until('four wait', async () => (await letters.count()) === 4);
      failing = -1;
      assert.equal((await letters.release('a', { halts })).state, 'free');
      const keys = new Map([
        ['a', [0, 1, 2, 3, 4, 5]],
        ['b', [4, 5]],
      ]);
      assertOrder([...first.handled.entries, ...handled.entries], keys);
      assert.equal(await letters.count(), 0);
    },
    120_000,
  );
}
