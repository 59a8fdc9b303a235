/** Publishes what the outbox holds. Two of these run, so that one can take over from the other. */

import { connect, createRelay } from 'holdfast';
import { adapterOf } from './brokers.ts';
import { crashPointOf, play } from './child.ts';
import { openStore } from './stores.ts';
import { createWitness } from './witness.ts';

await play(async (part) => {
  const { setup, ledger, stopped } = part;
  const { store, close } = await openStore(setup);
  const witness = createWitness(ledger);
  const client = await connect({
    adapter: await adapterOf(setup),
    name: part.name,
    crashPoint: crashPointOf(part, witness),
  });
  // A dead relay's rows wait until its lease is over: 2 seconds rather than 10.
  const relay = createRelay({ client, outbox: witness.relaying(store.outbox), batchSize: 100, leaseMs: 2_000 });
  await relay.start();
  await stopped;
  await client.close();
  await close();
});
