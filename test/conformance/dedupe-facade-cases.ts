import assert from 'node:assert/strict';
import { type MemoryAdapter, type MemoryBroker, memory, memoryBroker } from '../../adapters/memory/index.ts';
import type { Client } from '../../src/client.ts';
import { connect } from '../../src/connect.ts';
import type { DedupeStore } from '../../src/port.ts';
import type { Topic } from '../../src/topic.ts';
import type { DedupeCase } from './dedupe-store-cases.ts';
import type { Order } from './ledger.ts';
import { quick, scriptedTopic } from './script.ts';
import { gate, until } from './until.ts';

/** The store in use: consumers of one group in two clients, on a broker in memory. */
export function dedupeFacadeCases(promises: DedupeCase): void {
  promises('G4: published three times, by two clients, a message is handled once', {}, (under) =>
    withClients(async ({ topic, one, two }) => {
      const started: string[] = [];
      let duplicates = 0;
      for (const { client, store } of [
        { client: one.client, store: under.store },
        { client: two.client, store: under.other },
      ]) {
        client.on('duplicate', () => {
          duplicates += 1;
        });
        await client.consume(topic, { ...quick('g'), dedupe: store }, ({ id }) => void started.push(id));
      }
      for (const { client } of [one, two, one]) await client.publish(topic, { n: 0 }, { id: 'same' });
      await until('the others are known for repeats', () => duplicates === 2);
      assert.deepEqual(started, ['same']);
    }),
  );

  promises('a message that failed is handled again, its claim being given back', {}, (under) =>
    withClients(async ({ topic, one, two }) => {
      const attempts: number[] = [];
      const work = ({ attempt }: { readonly attempt: number }): void => {
        attempts.push(attempt);
        if (attempt < 3) throw new Error('not yet');
      };
      const options = quick('g', 0, [1, 1]);
      await one.client.consume(topic, { ...options, dedupe: under.store }, work);
      await two.client.consume(topic, { ...options, dedupe: under.other }, work);
      await one.client.publish(topic, { n: 0 }, { id: 'm' });
      await until('it was handled', () => attempts.includes(3));
      assert.deepEqual(attempts, [1, 2, 3]);
    }),
  );

  promises(
    'what a consumer had claimed when it died is handled by another, after claimMs',
    { claimMs: 1_000 },
    (under) =>
      withClients(async ({ topic, one, two }) => {
        const hang = gate();
        const started = gate();
        const handled: string[] = [];
        await one.client.consume(topic, { ...quick('g'), dedupe: outlived(under.store) }, async () => {
          started.open();
          await hang.opened;
        });
        await one.client.publish(topic, { n: 0 }, { id: 'm' });
        await started.opened;
        one.adapter.crash();
        await two.client.consume(topic, { ...quick('g'), dedupe: under.other }, ({ id }) => void handled.push(id));
        await until('the other has handled it', () => handled.length > 0);
        hang.open();
        assert.deepEqual(handled, ['m']);
      }),
  );

  promises('a handler that outlasts claimMs keeps its claim', { claimMs: 600 }, (under) =>
    withClients(async ({ topic, one, two }) => {
      if (under.store.renew === undefined) return;
      const started: string[] = [];
      const hang = gate();
      let renewals = 0;
      const counting = (store: DedupeStore): DedupeStore => ({
        ...store,
        async renew(held) {
          const ours = await store.renew!(held);
          renewals += 1;
          return ours;
        },
      });
      for (const { client, store } of [
        { client: one.client, store: under.store },
        { client: two.client, store: under.other },
      ]) {
        await client.consume(topic, { ...quick('g'), dedupe: counting(store) }, async ({ id }) => {
          started.push(id);
          await hang.opened;
        });
      }
      for (const { client } of [one, two, one]) await client.publish(topic, { n: 0 }, { id: 'same' });
      // Each after a third of it at the earliest.
      await until('it lasts three times as long', () => renewals >= 9);
      hang.open();
      await until('all copies are gone', async () => {
        const { ready, inFlight, delayed } = await one.client.backlog(topic, 'g');
        return ready === 0 && inFlight === 0 && delayed === 0;
      });
      assert.deepEqual(started, ['same']);
    }),
  );

  promises('published again after the window, a message is handled again', { windowMs: 100 }, (under) =>
    withClients(async ({ topic, one }) => {
      let handled = 0;
      await one.client.consume(topic, { ...quick('g'), dedupe: under.store }, () => {
        handled += 1;
      });
      await until('it was handled twice', async () => {
        await one.client.publish(topic, { n: 0 }, { id: 'm' });
        return handled >= 2;
      });
    }),
  );
}

/** The store as the dead know it: what their process, which lives on in this one, says at its end is not heard. */
function outlived(store: DedupeStore): DedupeStore {
  return { claim: (key) => store.claim(key), commit: async () => undefined, release: async () => undefined };
}

interface Party {
  readonly client: Client;
  readonly adapter: MemoryAdapter;
}

async function withClients(
  run: (clients: { readonly topic: Topic<Order>; readonly one: Party; readonly two: Party }) => Promise<void>,
): Promise<void> {
  const broker = memoryBroker();
  const [one, two] = [await join(broker), await join(broker)];
  try {
    await run({ topic: scriptedTopic({ name: 'orders', groups: { g: 'none' } }), one, two });
  } finally {
    await one.client.close({ drainMs: 0 });
    await two.client.close({ drainMs: 0 });
  }
}

async function join(broker: MemoryBroker): Promise<Party> {
  const adapter = memory({ broker });
  return { adapter, client: await connect({ adapter, source: 'conformance' }) };
}
