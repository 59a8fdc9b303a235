/** Consumes both groups: `delays` with effects in the inbox's transaction, `board` in the order of each airport. */

import { type Client, type ConsumeOptions, connect, type Message } from 'holdfast';
import { adapterOf } from './brokers.ts';
import { crashPointOf, type Part, play } from './child.ts';
import { inboxOf, sabotaged } from './sabotage.ts';
import { type DemoStore, openStore } from './stores.ts';
import { alwaysFails, type Flight, flightReported, type GroupName } from './topics.ts';
import { createWitness, type Witness } from './witness.ts';

/** Short, so that a run shows in a minute what otherwise takes an hour. */
const HASTE = {
  leaseMs: 2_500,
  retry: { immediate: { retries: 1, firstMs: 20 }, delays: [250] },
} satisfies Partial<ConsumeOptions>;

await play(async (part) => {
  const books = await openStore(part.setup);
  const witness = createWitness(part.ledger);
  const clients = await Promise.all([consumeDelays(part, books, witness), consumeBoard(part, witness)]);
  await part.stopped;
  await Promise.all(clients.map((client) => client.close()));
  await books.close();
});

async function consumeDelays(part: Part, { store, run }: DemoStore, witness: Witness): Promise<Client> {
  const { ledger } = part;
  const client = await clientFor('delays', part, witness, crashPointOf(part, witness));
  client.on('handled', ({ id }) => ledger.write({ event: 'handled', group: 'delays', id }));
  client.on('duplicate', ({ id }) => ledger.write({ event: 'duplicate', group: 'delays', id }));

  async function handle({ id, payload }: Message<Flight>, { tx }: { readonly tx: unknown }): Promise<void> {
    ledger.write({ event: 'called', group: 'delays', id });
    if (alwaysFails(payload.seq)) throw new Error(`flight ${payload.seq} cannot be handled`);
    await run(tx, 'insert into effects (id) values (?)', [id]);
    await run(
      tx,
      `insert into totals (origin, flights, delay, distance) values (?, 1, ?, ?)
       on conflict (origin) do update set flights = totals.flights + 1,
         delay = totals.delay + excluded.delay, distance = totals.distance + excluded.distance`,
      [payload.origin, payload.delay, payload.distance],
    );
  }

  const inbox = inboxOf(store, part.setup.sabotage);
  await client.consume(flightReported, { ...HASTE, group: 'delays', inbox, concurrency: 8 }, handle);
  return client;
}

async function consumeBoard(part: Part, witness: Witness): Promise<Client> {
  const client = await clientFor('board', part, witness);
  await client.consume(flightReported, { ...HASTE, group: 'board', order: 'key' }, ({ id }) =>
    part.ledger.write({ event: 'handled', group: 'board', id }),
  );
  return client;
}

async function clientFor(
  group: GroupName,
  { setup, name }: Part,
  witness: Witness,
  crashPoint?: (name: string) => void,
): Promise<Client> {
  const adapter = witness.consuming(sabotaged(await adapterOf(setup), group, setup.sabotage), group);
  return connect({ adapter, name: `${name}-${group}`, ...(crashPoint && { crashPoint }) });
}
