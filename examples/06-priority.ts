// Lanes: what is urgent overtakes what waits, and the low lane still gets its share.
import { connect, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';

const refundAsked = defineTopic<{ total: number }>('refunds.asked', {
  priority: (refund) => (refund.total > 1000 ? 'high' : refund.total > 10 ? 'normal' : 'low'),
  groups: ['payments'],
});
await using client = await connect({ adapter: memory() });

// 50 small ones wait already when two large ones arrive.
await client.publishAll(
  refundAsked,
  Array.from({ length: 50 }, () => ({ total: 5 })),
);
await client.publishAll(refundAsked, [{ total: 5_000 }, { total: 9_000 }]);

const order: number[] = [];
const all = Promise.withResolvers<void>();
await client.consume(refundAsked, { group: 'payments', concurrency: 1 }, async ({ payload }) => {
  order.push(payload.total);
  if (order.length === 52) all.resolve();
});
await all.promise;

const last = Math.max(order.indexOf(5_000), order.indexOf(9_000));
console.log(`both large refunds were among the first ${last < 5 ? 5 : last + 1} of ${order.length}`);
// prints: both large refunds were among the first 5 of 52
