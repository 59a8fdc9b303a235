// Orders: the message is sent if, and only if, the order's transaction commits.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createRelay, defineTopic } from 'holdfast';
import { sqlite, sqliteStore } from 'holdfast/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-example-'));
const orderPlaced = defineTopic<{ orderId: number }>('orders.placed', { groups: ['billing'] });

const client = await connect({ adapter: sqlite({ path: join(folder, 'broker.db') }), source: 'shop' });
const store = sqliteStore({ path: join(folder, 'shop.db'), source: 'shop' }); // or postgresStore({ pool, source })
await store.migrate();

async function placeOrder(orderId: number, payable: boolean): Promise<void> {
  await store.outbox.transaction(async (tx) => {
    tx.exec('create table if not exists orders (id integer primary key)');
    tx.prepare('insert into orders (id) values (?)').run(orderId);
    await store.outbox.add(tx, orderPlaced, { orderId });
    if (!payable) throw new Error('card refused'); // rolls back the order and its message
  });
}

await placeOrder(1, true);
await placeOrder(2, false).catch(() => undefined);
await placeOrder(3, true);

// Usually a process of its own: npx holdfast relay --config holdfast.config.ts
await createRelay({ client, outbox: store.outbox }).start();

const billed: number[] = [];
const { promise: both, resolve } = Promise.withResolvers<void>();
await client.consume(orderPlaced, { group: 'billing' }, ({ payload }) => {
  billed.push(payload.orderId);
  if (billed.length === 2) resolve();
});
await both;
console.log(`billed orders ${billed.sort().join(' and ')}`);

await client.close(); // stops the relay too
await store.close();
rmSync(folder, { recursive: true });
// prints: billed orders 1 and 3
