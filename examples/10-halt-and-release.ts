// In an ordered group a message that cannot be handled may mean that the later ones of its key must not be, either: a
// payment is not captured before it is authorized. With halt-key its key stands still until you release it.
import { connect, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';
import { sqliteStore } from 'holdfast/sqlite';

const paymentMoved = defineTopic<{ payment: string; step: string }>('payments.moved', {
  key: ({ payment }) => payment,
  groups: { ledger: { order: 'key' } },
});
const store = sqliteStore({ path: ':memory:' }); // or postgresStore({ pool }): shared by all processes of the group
await store.migrate();
const client = await connect({ adapter: memory() });

let accountExists = false;
const booked: string[] = [];
await client.consume(
  paymentMoved,
  { group: 'ledger', retry: { immediate: { retries: 1 }, delays: [] }, onExhausted: 'halt-key', halts: store.halts },
  ({ payload: { payment, step } }) => {
    if (payment === 'a' && !accountExists) throw new Error('no such account');
    booked.push(`${payment} ${step}`);
  },
);
const waiting = Promise.withResolvers<void>();
let dead = 0;
client.on('dead-lettered', () => {
  dead += 1;
  if (dead === 3) waiting.resolve();
});

for (const step of ['authorized', 'captured', 'settled']) {
  await client.publish(paymentMoved, { payment: 'a', step });
  await client.publish(paymentMoved, { payment: 'b', step });
}
await waiting.promise;

const letters = client.deadLetters(paymentMoved, 'ledger');
const [halted] = await letters.halted({ halts: store.halts });

accountExists = true;
const { state } = await letters.release('a', { halts: store.halts });
const steps = booked.filter((each) => each.startsWith('a ')).map((each) => each.slice(2));
console.log(`${halted?.key} stands still, ${halted?.parked} wait; ${state}: ${steps.join(', ')}`);

await client.close();
await store.close();
// prints: a stands still, 3 wait; free: authorized, captured, settled
