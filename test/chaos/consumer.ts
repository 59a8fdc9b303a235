/** Consumes all groups; each effect is a row in the inbox's transaction, in a table where nothing is unique. */

import { type BrokerAdapter, connect, DeadLetter, type Message } from 'holdfast';
import type { PoolClient } from 'pg';
import { type Part, persist, play } from './child.ts';
import { IMMEDIATE } from './patience.ts';
import { adapterOf, openStore } from './setup.ts';
import { checkOf, designOf, type GroupName, type Item, items, type Transfer, transfers } from './topics.ts';
import { subscribing } from './wrap.ts';

await play(async (part) => {
  const { setup, name, stopped, begun } = part;
  const { inbox, close } = await openStore(setup, 12);
  const client = await persist(async () => connect({ adapter: witnessed(await adapterOf(setup), part), name }), part);
  for (const event of ['handled', 'duplicate'] as const) {
    client.on(event, ({ group, id }) => part.ledger.write({ e: event, g: group as GroupName, id }));
  }
  client.on('dead-lettered', ({ group, id, reason, attempts }) =>
    part.ledger.write({ e: 'dead', g: group as GroupName, id, reason, attempts }),
  );
  const retry = { immediate: IMMEDIATE, delays: setup.delays };
  const options = { leaseMs: 5_000, timeoutMs: 15_000, retry, inbox };
  await persist(() => client.consume(items, { ...options, group: 'pool' }, handler('pool', part)), part);
  await persist(() => client.consume(items, { ...options, group: 'line', order: 'key' }, handler('line', part)), part);
  await persist(() => client.consume(transfers, { ...options, group: 'bank' }, handler('bank', part)), part);
  begun();
  await stopped;
  await client.close();
  await close();
});

function handler(group: GroupName, { ledger, name }: Part) {
  return async (message: Message<Item>, { tx }: { readonly tx: PoolClient }): Promise<void> => {
    const { id, key, payload, attempt } = message;
    ledger.write({ e: 'called', g: group, id, attempt });
    let failed = true;
    try {
      if (payload.check !== checkOf(id) || payload.key !== key || message.headers.trace !== id)
        ledger.write({ e: 'mismatch', g: group, id });
      await tx.query('insert into chaos.effects (id, grp, key, seq, proc) values ($1, $2, $3, $4, $5)', [
        id,
        group,
        key,
        payload.seq,
        name,
      ]);
      if (group === 'bank') await book(tx, payload as Transfer);
      const design = designOf(group, payload.seq);
      if (design === 'refused') throw new DeadLetter('refused');
      if (design === 'fails-always' || (design === 'fails-twice' && attempt <= 2)) throw new Error('fails by design');
      failed = false;
    } finally {
      ledger.write({ e: 'ran', g: group, id, failed });
    }
  };
}

/** The lower account first, so that two transfers cannot wait for each other. */
async function book(tx: PoolClient, { from, to, amount }: Transfer): Promise<void> {
  const changes = [
    [from, -amount],
    [to, amount],
  ].sort(([one], [other]) => one! - other!);
  for (const change of changes)
    await tx.query('update chaos.accounts set balance = balance + $2 where id = $1', change);
}

/** The same adapter, its deliveries written down. */
function witnessed(adapter: BrokerAdapter, { ledger }: Part): BrokerAdapter {
  return subscribing(adapter, (group) => ({
    receive: (receive) => ({
      deliver(batch) {
        const ids = batch.map(({ message, position }) => message.id ?? position);
        ledger.write({ e: 'delivered', g: group as GroupName, ids });
        receive.deliver(batch);
      },
    }),
  }));
}
