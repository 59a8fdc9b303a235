// Payments: each transfer takes effect once, however often its message arrives, because the handler writes in the
// inbox's transaction. The sum of all balances never changes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, defineTopic } from 'holdfast';
import { sqlite, sqliteStore } from 'holdfast/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-example-'));
const transferAsked = defineTopic<{ from: string; to: string; amount: number }>('transfers.asked', {
  groups: ['bank'],
});

const client = await connect({ adapter: sqlite({ path: join(folder, 'broker.db') }), source: 'app' });
const store = sqliteStore({ path: join(folder, 'bank.db') });
await store.migrate();
await store.outbox.transaction(async (tx) => {
  tx.exec(
    "create table account (name text primary key, balance integer); insert into account values ('ada', 100), ('bob', 100)",
  );
});

let repeats = 0;
const settled = Promise.withResolvers<void>();
let effects = 0;
client.on('duplicate', () => {
  repeats += 1;
  if (repeats === 2) settled.resolve();
});
await client.consume(transferAsked, { group: 'bank', inbox: store.inbox }, ({ payload }, { tx }) => {
  const move = tx.prepare('update account set balance = balance + ? where name = ?');
  move.run(-payload.amount, payload.from);
  move.run(payload.amount, payload.to);
  effects += 1;
});

// A producer that cannot know whether its publish arrived sends it again with the same id: here, three times.
for (let time = 0; time < 3; time += 1) {
  await client.publish(transferAsked, { from: 'ada', to: 'bob', amount: 30 }, { id: 'transfer-1' });
}
await settled.promise;

const balances = await store.outbox.transaction(async (tx) =>
  tx.prepare('select balance from account order by name').all(),
);
const [ada, bob] = balances.map(({ balance }) => Number(balance));
console.log(`${effects} effect, ${repeats} repeats stopped, ada ${ada}, bob ${bob}, sum ${ada! + bob!}`);
await client.close();
await store.close();
rmSync(folder, { recursive: true });
// prints: 1 effect, 2 repeats stopped, ada 70, bob 130, sum 200
