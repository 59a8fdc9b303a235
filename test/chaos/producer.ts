/** Sends items and transfers, one at a time per key: directly, or by a transaction with a row of its own. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect, isHoldfastError, type Topic } from 'holdfast';
import type { PoolClient } from 'pg';
import { type Part, persist, play } from './child.ts';
import type { Outcome } from './ledger-file.ts';
import { PUBLISH_TIMEOUT_MS } from './patience.ts';
import { adapterOf, type ChaosStore, openStore } from './setup.ts';
import { ACCOUNTS, checkOf, type Item, items, type Transfer, transfers, unheardTransfers } from './topics.ts';

/** Keys per process, each with one message under way at a time. */
const LANES = 24;
const PAUSE_MS = 40;
/** One of so many messages is a transfer; of transactions, one of so many is rolled back on purpose. */
const TRANSFERS = 4;
const ROLLED_BACK = 50;
/** A message that may have been stored is sent again with its id, at most so often. */
const CALLS = 3;

class RolledBack extends Error {}

/** Publishes once; throws as publishing does. */
type Send = <T extends Item>(topic: Topic<T>, payload: T, id: string) => Promise<void>;

async function sendAll(part: Part, send: Send, calls: number): Promise<void> {
  part.begun();
  await Promise.all(
    Array.from({ length: LANES }, async (_, lane) => {
      const key = `${part.name}.${lane}`;
      for (let seq = 0; !part.stopping(); seq += 1) {
        const sent = await sendOne(part, send, key, seq, calls);
        await sleep(sent ? PAUSE_MS : 250);
        while (part.held() && !part.stopping()) await sleep(100);
      }
    }),
  );
}

async function sendOne(
  { ledger, setup, route = 'direct' }: Part,
  send: Send,
  key: string,
  seq: number,
  calls: number,
): Promise<boolean> {
  const id = `${key}.${seq}`;
  const item: Item = { key, seq, check: checkOf(id) };
  const isTransfer = seq % TRANSFERS === 1;
  const place = Number.parseInt(item.check.slice(0, 8), 16);
  const from = place % ACCOUNTS;
  const transfer: Transfer = {
    ...item,
    from,
    to: (from + 1 + (place % (ACCOUNTS - 1))) % ACCOUNTS,
    amount: 1 + (place % 100),
  };
  for (let n = 1; n <= calls; n += 1) {
    const topic = isTransfer ? transfers.name : items.name;
    const { to, amount } = transfer;
    ledger.write({ e: 'begin', id, n, route, topic, key, seq, ...(isTransfer && { from, to, amount }) });
    let outcome: Outcome = 'ok';
    let code: string | undefined;
    try {
      if (isTransfer) await send(setup.consumersLate ? unheardTransfers : transfers, transfer, id);
      else await send(items, item, id);
    } catch (error) {
      outcome = outcomeOf(error);
      code = isHoldfastError(error) ? error.code : ((error as { code?: string }).code ?? String(error));
    }
    ledger.write({ e: 'end', id, n, outcome, ...(code !== undefined && { code }) });
    if (outcome !== 'unknown') return outcome === 'ok' || outcome === 'rolled-back';
  }
  return false;
}

function outcomeOf(error: unknown): Outcome {
  if (error instanceof RolledBack) return 'rolled-back';
  if (isHoldfastError(error)) return error.outcome ?? 'unknown';
  // Of a transaction: whatever it was, only the database knows.
  return 'unknown';
}

const directly =
  (client: Client): Send =>
  async (topic, payload, id) => {
    await client.publish(topic, payload as never, { id, headers: { trace: id }, timeoutMs: PUBLISH_TIMEOUT_MS });
  };

const byOutbox =
  ({ store }: ChaosStore): Send =>
  async (topic, payload, id) => {
    await store.outbox.transaction(async (tx: PoolClient) => {
      await tx.query('insert into chaos.business (id, key, seq) values ($1, $2, $3)', [id, payload.key, payload.seq]);
      await store.outbox.add(tx, topic, payload as never, { id, headers: { trace: id } });
      if (payload.seq % ROLLED_BACK === 33) throw new RolledBack();
    });
  };

await play(async (part) => {
  if (part.route === 'outbox') {
    const books = await openStore(part.setup, LANES + 2);
    await sendAll(part, byOutbox(books), 1);
    await books.close();
  } else {
    const { setup, name } = part;
    const client = await persist(async () => connect({ adapter: await adapterOf(setup), name, source: 'chaos' }), part);
    await sendAll(part, directly(client), CALLS);
    await client.close();
  }
});
