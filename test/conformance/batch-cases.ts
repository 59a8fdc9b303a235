import assert from 'node:assert/strict';
import type { Message } from '../../src/message.ts';
import { assertOnce, handlingOf, ledger, type Order } from './ledger.ts';
import type { Suite } from './options.ts';
import { calm } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** S25: one handler call for many messages. */
export function batchCases(suite: Suite): void {
  suite.case('S25: batches hold up to their size, and lose nothing', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const ids = await publishOrders(client, topic, 100);
    const handled = ledger();
    const sizes: number[] = [];
    await client.consumeBatches(
      topic,
      { ...calm('g'), concurrency: 2, batch: { size: 10, waitMs: 50 } },
      (messages) => {
        sizes.push(messages.length);
        for (const message of messages) handled.note(handlingOf(message, ''));
      },
    );
    await handled.all(ids);
    assertOnce(handled);
    assert.ok(Math.max(...sizes) <= 10 && Math.max(...sizes) > 1, `sizes ${sizes.join(', ')}`);
  });

  suite.case('S25: one failed message does not fail its batch', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const ids = await publishOrders(client, topic, 30);
    const handled = ledger();
    const calls = new Map<string, number>();
    await client.consumeBatches(topic, { ...calm('g', 1), batch: { size: 10, waitMs: 50 } }, (messages, { fail }) => {
      for (const message of messages) {
        calls.set(message.id, (calls.get(message.id) ?? 0) + 1);
        if (message.payload.n === 7) fail(message, new Error('always'));
        else handled.note(handlingOf(message, ''));
      }
    });
    await handled.all(ids.filter((id) => id !== 'm-7'));
    await until('the failed one is a dead letter', async () => (await client.deadLetters(topic, 'g').count()) === 1);
    assertOnce(handled);
    assert.equal(calls.get('m-7'), 2);
    for await (const letter of client.deadLetters(topic, 'g').list()) {
      assert.deepEqual({ id: letter.id, attempts: letter.attempts }, { id: 'm-7', attempts: 2 });
    }
  });

  suite.case(
    'S25: with an inbox, a batch that throws is rolled back and its messages are handled singly',
    async (world) => {
      const topic = world.topic();
      const { inbox, close } = await world.suite.inbox();
      world.defer(close);
      const client = await world.client();
      const ids = await publishOrders(client, topic, 10);
      const handled = ledger();
      let committed: Message<Order>[] = [];
      await client.consumeBatches(
        topic,
        { ...calm('g', 1), inbox: inbox as never, batch: { size: 10, waitMs: 200 } },
        (messages) => {
          if (messages.length > 1 || messages[0]!.payload.n === 3) throw new Error('bad batch');
          committed = [...committed, ...messages];
          for (const message of messages) handled.note(handlingOf(message, ''));
        },
      );
      await handled.all(ids.filter((id) => id !== 'm-3'));
      await until('the bad one is a dead letter', async () => (await client.deadLetters(topic, 'g').count()) === 1);
      assertOnce(handled);
      assert.equal(committed.length, 9);
    },
  );
}
