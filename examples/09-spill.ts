// The broker is away, and the shop goes on taking orders: what cannot be sent waits in the shop's own database.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrokerAdapter, connect, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';
import { sqliteStore } from 'holdfast/sqlite';

let away = false;
function withOutages(inner: BrokerAdapter): BrokerAdapter {
  const refused = { kind: 'rejected', error: new Error('connection refused') } as const;
  return {
    ...inner,
    publish: async (batch, limit) => (away ? batch.map(() => refused) : inner.publish(batch, limit)),
    isTransient: () => true,
  };
}

const folder = mkdtempSync(join(tmpdir(), 'holdfast-example-'));
const store = sqliteStore({ path: join(folder, 'shop.db') }); // or postgresStore({ pool })
await store.migrate();

const orderPlaced = defineTopic<{ orderId: number }>('orders.placed', {
  key: ({ orderId }) => String(orderId),
  groups: { billing: { order: 'key' } },
});
const client = await connect({
  adapter: withOutages(memory()), // rabbitmq({ url }), kafka({ brokers }), redis({ url })
  source: 'shop',
  spill: { store, maxBytes: 16 * 1024 * 1024, spillAfterMs: 100 }, // or just: spill: store
});

const billed: number[] = [];
const all = Promise.withResolvers<void>();
await client.consume(orderPlaced, { group: 'billing' }, ({ payload }) => {
  billed.push(payload.orderId);
  if (billed.length === 3) all.resolve();
});

const said: string[] = [];
for (const orderId of [1, 2, 3]) {
  away = orderId > 1; // the broker goes away after the first order
  const { outcome } = await client.publish(orderPlaced, { orderId });
  said.push(`${orderId} ${outcome}`);
}
away = false; // and comes back: what was spilled is sent by itself
await all.promise;
console.log(`${said.join(', ')}; billed ${billed.sort().join(', ')}`);

const { spilled } = await client.close(); // what is left would be sent by the next client with this store
await store.close();
rmSync(folder, { recursive: true });
if (spilled !== 0) throw new Error(`${spilled} messages are left in the store`);
// prints: 1 confirmed, 2 spilled, 3 spilled; billed 1, 2, 3
