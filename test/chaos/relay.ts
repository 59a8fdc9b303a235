/** Publishes what the outbox holds. Two of these run, so that one can take over from the other. */

import { connect, createRelay } from 'holdfast';
import { persist, play } from './child.ts';
import { adapterOf, openStore } from './setup.ts';

await play(async (part) => {
  const { setup, name, stopped, begun } = part;
  const { outbox, close } = await openStore(setup, 6);
  const client = await persist(async () => connect({ adapter: await adapterOf(setup), name }), part);
  const relay = createRelay({ client, outbox, leaseMs: 3_000, timeoutMs: 8_000 });
  await persist(() => relay.start(), part);
  begun();
  await stopped;
  await client.close();
  await close();
});
