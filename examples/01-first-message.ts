// Publish a message and handle it. `publish` fulfils when the broker has confirmed, `consume` settles when you return.
import { connect, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';
import { z } from 'zod';

const orderPlaced = defineTopic('orders.placed', {
  schema: z.object({ orderId: z.string(), total: z.number() }),
  key: (order) => order.orderId,
  groups: { billing: {} },
});

// Another broker is another adapter here (or a URL): nothing else changes.
await using client = await connect({ adapter: memory(), source: 'shop' });

await client.publish(orderPlaced, { orderId: '42', total: 10 });

const { promise: handled, resolve: done } = Promise.withResolvers<string>();
await client.consume(orderPlaced, { group: 'billing' }, ({ payload, attempt }) => {
  done(`invoice for order ${payload.orderId}: ${payload.total} (attempt ${attempt})`);
});

console.log(await handled);
// prints: invoice for order 42: 10 (attempt 1)
