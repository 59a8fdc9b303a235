// An adapter is an object with a dozen functions (src/port.ts); the core brings validation, retries, order and the rest.
// This one wraps another and loses every third confirm, as a bad network would: watch what `publish` makes of it.
import { type BrokerAdapter, connect, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';

function withBadNetwork(inner: BrokerAdapter): BrokerAdapter {
  let calls = 0;
  return {
    ...inner,
    name: `${inner.name} behind a bad network`,
    async publish(batch, limit) {
      const outcomes = await inner.publish(batch, limit);
      calls += 1;
      // The message is stored, but nobody hears of it: that is neither success nor failure, it is unknown.
      return calls % 3 === 1 ? batch.map(() => ({ kind: 'unknown', error: new Error('connection lost') })) : outcomes;
    },
    isTransient: () => true,
  };
}

const measured = defineTopic<{ value: number }>('sensors.measured', { groups: ['archive'] });
const client = await connect({ adapter: withBadNetwork(memory()) });

let retries = 0;
client.on('publish-retry', () => {
  retries += 1;
});
const ids = new Set<string>();
let deliveries = 0;
const all = Promise.withResolvers<void>();
await client.consume(measured, { group: 'archive' }, ({ id }) => {
  deliveries += 1;
  ids.add(id);
  if (deliveries === 4) all.resolve();
});

for (let value = 0; value < 3; value += 1) await client.publish(measured, { value });
await all.promise;

console.log(
  `3 published, ${retries > 0 ? 'some' : 'none'} sent again, ${ids.size} different messages arrived, none lost`,
);
await client.close();
// prints: 3 published, some sent again, 3 different messages arrived, none lost
