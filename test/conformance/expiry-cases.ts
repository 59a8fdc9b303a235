import assert from 'node:assert/strict';
import { defineTopic } from '../../src/define-topic.ts';
import { lettersOf } from './dead-letter-cases.ts';
import { handlingOf, ledger, type Order } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';

/** S15: what is too old is not handled. */
export function expiryCases(suite: Suite): void {
  for (const onExpired of ['dead-letter', 'drop'] as const) {
    const what =
      onExpired === 'drop' ? 'dropped, with an event, where the topic says so' : 'a dead letter, and never handled';
    suite.case(`S15: a message that expired before it was handled is ${what}`, async (world) => {
      const topic = defineTopic<Order>(world.name(), { groups: ['g'], onExpired });
      const client = await world.client();
      const dropped: string[] = [];
      client.on('dropped', ({ id, reason }) => dropped.push(`${id} ${reason}`));
      await client.publish(topic, { n: 0 }, { id: 'old', expiresInMs: 1 });
      await client.publish(topic, { n: 1 }, { id: 'long', expiresInMs: 3_600_000 });
      await client.publish(topic, { n: 2 }, { id: 'ever' });
      const publishedAt = Date.now();
      await until('it has expired', () => Date.now() > publishedAt + 20);
      const handled = ledger();
      await client.consume(topic, quick('g'), (message) => handled.note(handlingOf(message, '')));
      await handled.all(['long', 'ever']);
      if (onExpired === 'drop') {
        await until('it was dropped', () => dropped.includes('old expired'));
        assert.equal(await client.deadLetters(topic, 'g').count(), 0);
      } else {
        await until('it is a dead letter', async () => (await client.deadLetters(topic, 'g').count()) === 1);
        const [letter] = await lettersOf(client, topic);
        assert.deepEqual(
          { id: letter!.id, reason: letter!.reason, attempts: letter!.attempts },
          { id: 'old', reason: 'expired', attempts: 0 },
        );
      }
      assert.equal(handled.of('old').length, 0);
    });
  }
}
