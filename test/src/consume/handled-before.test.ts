import { expect, it } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { connect, defineTopic, RetryLater } from '../../../src/index.ts';
import type { BrokerAdapter, Settlement, SettleOutcome } from '../../../src/port.ts';
import { fakeInbox, gate } from '../fake-adapter.ts';

const once = { immediate: { retries: 0 }, delays: [] } as const;

/** Loses the first acknowledgements with their connections: what they were for comes again, as suspect. */
function losing(count: number): BrokerAdapter {
  const whole = memory();
  let left = count;
  return {
    ...whole,
    async subscribe(subscription, receive) {
      const source = await whole.subscribe(subscription, receive);
      return {
        ...source,
        async settle(batch: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
          if (left === 0) return source.settle(batch);
          left -= 1;
          whole.disconnect();
          return batch.map(() => 'unknown');
        },
      };
    },
  };
}

it('G7: what was handled is not dead-lettered as crashed when its acknowledgement is lost again and again', async () => {
  const topic = defineTopic<number>('handled', { groups: ['g'] });
  const client = await connect({ adapter: losing(3) });
  const settled = gate<string>();
  client.on('duplicate', async () => {
    if ((await client.backlog(topic, 'g')).inFlight === 0) settled.open('duplicate');
  });
  client.on('dead-lettered', ({ reason }) => settled.open(reason));
  let calls = 0;
  await client.consume(topic, { group: 'g', inbox: fakeInbox(), retry: once }, () => {
    calls += 1;
  });
  await client.publish(topic, 1);
  for (let dead = 0; dead === 0; ) {
    const { ready, inFlight, dead: letters } = await client.backlog(topic, 'g');
    if (ready === 0 && inFlight === 0) break;
    dead = letters ?? 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await client.deadLetters(topic, 'g').count()).toBe(0);
  expect(calls).toBe(1);
  await client.close();
});

it('G7: what was handled is not dead-lettered as expired when it comes again too late', async () => {
  const topic = defineTopic<number>('handled.late', { groups: ['g'] });
  const adapter = losing(1);
  const client = await connect({ adapter });
  const again = gate();
  client.on('duplicate', () => again.open());
  client.on('dead-lettered', () => again.open());
  await client.consume(topic, { group: 'g', inbox: fakeInbox(), retry: once }, () => {
    // It is handled in time; its redelivery is not.
    const until = Date.now() + 60;
    while (Date.now() < until);
  });
  await client.publish(topic, 1, { expiresInMs: 50 });
  await again.opened;
  expect(await client.deadLetters(topic, 'g').count()).toBe(0);
  await client.close();
});

it('S25: a message that asks for later by fail() spends no attempt of the others in its transaction', async () => {
  const topic = defineTopic<number>('batch.later', { groups: ['g'] });
  const client = await connect({ adapter: memory() });
  await client.publishAll(topic, [0, 1, 2, 3]);
  const done = gate();
  const handled = new Set<number>();
  let deaths = 0;
  const look = (): void => {
    if (handled.size + deaths === 4) done.open();
  };
  client.on('dead-lettered', () => {
    deaths += 1;
    look();
  });
  client.on('handled', look);
  const options = { group: 'g', inbox: fakeInbox(), retry: once, batch: { size: 4, waitMs: 1_000 } };
  await client.consumeBatches(topic, options, (messages, { fail }) => {
    for (const message of messages) {
      if (message.payload === 2) fail(message, new RetryLater(10));
      else if (messages.length === 1) handled.add(message.payload);
    }
  });
  await done.opened;
  expect(handled).toEqual(new Set([0, 1, 3]));
  expect(await client.deadLetters(topic, 'g').count()).toBe(1);
  await client.close();
});
