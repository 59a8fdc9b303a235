// What a user writes, and what must not compile.

import { connect, createRelay, DeadLetter, defineTopic, exponential, type Store } from 'holdfast';
import { z } from 'zod';

interface PoolClient {
  query(text: string, values?: readonly unknown[]): Promise<{ rows: unknown[] }>;
}
declare const store: Store<PoolClient>;

const orderPlaced = defineTopic('orders.placed', {
  schema: z.object({ orderId: z.string(), total: z.coerce.number<string>() }), // input: string, output: number
  key: (order) => order.orderId,
  groups: { billing: {}, board: { order: 'key' } },
});
const plain = defineTopic<{ n: number }>('plain');

await using client = await connect('amqp://localhost');
await client.publish(orderPlaced, { orderId: '42', total: '10' }, { expiresInMs: 60_000 });
await client.publish(plain, { n: 0 }, { delayMs: 500 });
await client.consume(
  orderPlaced,
  {
    group: 'billing',
    inbox: store.inbox,
    retry: { immediate: { retries: 2 }, delays: exponential({ firstMs: 5_000, factor: 4, maxMs: 600_000, times: 5 }) },
  },
  async ({ payload, attempt }, { tx, signal }) => {
    signal.throwIfAborted();
    if (payload.total < 0) throw new DeadLetter('negative total');
    await tx.query('insert into invoices values ($1, $2)', [payload.orderId, payload.total.toFixed(2), attempt]);
  },
);
await client.consume(plain, { group: 'g' }, ({ payload }, { tx }) => [payload.n.toFixed(), tx satisfies undefined]);
await store.outbox.transaction(async (tx) => {
  await store.outbox.add(tx, plain, { n: 1 });
});
await createRelay({ client, outbox: store.outbox }).start();
for (const result of await client.publishAll(plain, [{ n: 1 }], ({ n }) => ({ id: `n-${n}` })))
  if (!result.ok) throw result.error;

// @ts-expect-error the payload's type is the topic's
await client.publish(plain, { m: 1 });
// @ts-expect-error no such option
await client.publish(plain, { n: 1 }, { dealyMs: 5 });
// @ts-expect-error a lane has three names
await client.publish(plain, { n: 1 }, { priority: 'urgent' });
// @ts-expect-error one message's options are not all messages' options
await client.publishAll(plain, [{ n: 1 }], { id: 'x' });
// @ts-expect-error a deadline has no meaning inside a transaction
await store.outbox.transaction((tx) => store.outbox.add(tx, plain, { n: 1 }, { timeoutMs: 5 }));

const letters = client.deadLetters(plain, 'g');
await letters.replay({ edit: ({ attempts }) => (attempts > 3 ? { payload: { n: attempts } } : undefined) });
// @ts-expect-error an edited payload is the topic's, too
await letters.replay({ edit: () => ({ payload: { m: 1 } }) });
// @ts-expect-error nothing to count by
await letters.countBy('body');
