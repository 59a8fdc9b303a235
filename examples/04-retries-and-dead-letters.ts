// A handler that throws is tried again: at once, then after delays, then the message is a dead letter, kept until you
// replay or discard it.
import { connect, DeadLetter, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';

const refundAsked = defineTopic<{ id: string; total: number }>('refunds.asked', { groups: ['payments'] });
const client = await connect({ adapter: memory() });

let providerIsUp = false;
const paid: string[] = [];
const died = Promise.withResolvers<void>();
const replayed = Promise.withResolvers<void>();

await client.consume(
  refundAsked,
  { group: 'payments', retry: { immediate: { retries: 1, firstMs: 5 }, delays: [20, 50] } },
  ({ payload }) => {
    if (payload.total < 0) throw new DeadLetter('negative total'); // no retry can help
    if (!providerIsUp) throw new Error('the payment provider does not answer');
    paid.push(payload.id);
    replayed.resolve();
  },
);
let dead = 0;
client.on('dead-lettered', () => {
  dead += 1;
  if (dead === 2) died.resolve();
});

await client.publish(refundAsked, { id: 'a', total: 10 });
await client.publish(refundAsked, { id: 'b', total: -1 });
await died.promise;

const letters = client.deadLetters(refundAsked, 'payments');
const seen: string[] = [];
for await (const letter of letters.list()) seen.push(`${letter.reason} after ${letter.attempts}`);

providerIsUp = true;
await letters.replay({ where: { reason: 'failed' } });
await replayed.promise;
await letters.discard({ where: { reason: 'negative total' } });

console.log(`${seen.sort().join(', ')}; then paid ${paid}; ${await letters.count()} left`);
await client.close();
// prints: failed after 6, negative total after 1; then paid a; 0 left
