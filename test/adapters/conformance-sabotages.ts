import type { MemoryAdapter } from '../../adapters/memory/index.ts';
import type { BrokerAdapter, DeadLetterStore, Delivery, Outgoing, Settlement, Source } from '../../src/port.ts';

/** How an adapter is made wrong. */
export type Sabotage = (honest: MemoryAdapter) => Partial<BrokerAdapter>;

/** Changes what is published. */
const published =
  (change: (message: Outgoing, index: number) => Outgoing | readonly Outgoing[] | undefined): Sabotage =>
  (honest) => ({
    async publish(batch, limit) {
      const kept = batch.flatMap((message, index) => change(message, index) ?? []);
      if (kept.length > 0) await honest.publish(kept, limit);
      return batch.map(() => ({ kind: 'confirmed' }));
    },
  });

/** Changes what is delivered. */
const delivered =
  (change: (batch: readonly Delivery[]) => readonly Delivery[]): Sabotage =>
  (honest) => ({
    subscribe: (subscription, receive) =>
      honest.subscribe(subscription, { ...receive, deliver: (batch) => receive.deliver(change(batch)) }),
  });

/** Changes how deliveries are settled. */
const settled =
  (change: (each: Settlement) => Settlement): Sabotage =>
  (honest) => ({
    async subscribe(subscription, receive) {
      const source = await honest.subscribe(subscription, receive);
      return { ...source, settle: (batch) => source.settle(batch.map(change)) };
    },
  });

/** Changes how dead letters are listed, replayed and removed. */
const lettered =
  (change: (store: DeadLetterStore) => Partial<DeadLetterStore>): Sabotage =>
  (honest) => ({
    deadLetters(topology, group) {
      const store = honest.deadLetters(topology, group);
      return { ...store, ...change(store) };
    },
  });

/** What a wrong adapter does, and the case that finds it out. */
export const sabotages: readonly (readonly [string, string, Sabotage])[] = [
  [
    'loses every seventh message',
    'every confirmed message is handled',
    published((message, index) => (index % 7 === 6 ? undefined : message)),
  ],
  [
    'delivers what nobody published',
    'every confirmed message is handled',
    published((message, index) => (index === 3 ? [message, { ...message, id: 'phantom' }] : message)),
  ],
  [
    'delivers twice in calm weather',
    'each group gets every message',
    (honest) => ({
      publish: async (batch, limit) => {
        await honest.publish(batch.slice(0, 1), limit);
        return honest.publish(batch, limit);
      },
    }),
  ],
  [
    'changes a byte',
    'bytes arrive as they were',
    delivered((batch) =>
      batch.map((each) => ({
        ...each,
        message: { ...each.message, body: each.message.body.map((byte) => (byte === 200 ? 201 : byte)) },
      })),
    ),
  ],
  [
    'mangles headers that are not ASCII',
    'keep every character',
    published((message) => ({
      ...message,
      headers: Object.fromEntries(
        Object.entries(message.headers).map(([name, value]) => [name, Buffer.from(value, 'latin1').toString('latin1')]),
      ),
    })),
  ],
  ['drops the source', 'all that was said of it', published((message) => ({ ...message, source: 'default' }))],
  ['drops the dedupe key', 'the dedupe key decides', published((message) => ({ ...message, dedupeKey: undefined }))],
  [
    'drops the expiry',
    'expired before it was handled is a dead letter',
    published((message) => ({ ...message, expiresAt: undefined })),
  ],
  ['confirms what nobody will receive', 'no group would ever receive', published((message) => message)],
  [
    'says not-sent of what it has stored',
    'closed amid them',
    (honest) => ({
      publish: async (batch, limit) => {
        await honest.publish(batch, limit);
        return batch.map((_, index) =>
          index % 2 === 0 ? { kind: 'confirmed' } : { kind: 'rejected', error: new Error('no') },
        );
      },
    }),
  ],
  [
    'publishes at once what is for later',
    'a delayed message is not early',
    published((message) => ({ ...message, delayMs: 0 })),
  ],
  [
    'retries without the delay',
    'a delayed retry is not early',
    settled((each) => (each.kind === 'retry' ? { ...each, delayMs: 0 } : each)),
  ],
  [
    'forgets the attempts',
    'attempts go on counting',
    settled((each) => (each.kind === 'retry' ? { ...each, marks: {} } : each)),
  ],
  [
    'acknowledges before the handler has run',
    'was handling when it was killed',
    (honest) => ({
      async subscribe(subscription, receive) {
        const source: Source = await honest.subscribe(subscription, {
          ...receive,
          deliver(batch) {
            void source.settle(batch.map((delivery) => ({ kind: 'done', delivery })));
            receive.deliver(batch);
          },
        });
        return { ...source, settle: async (batch) => batch.map(() => 'settled') };
      },
    }),
  ],
  [
    'acknowledges instead of giving back',
    'gives back the rest unspent',
    (honest) => ({
      async subscribe(subscription, receive) {
        const open = new Set<Delivery>();
        const source = await honest.subscribe(subscription, {
          ...receive,
          deliver(batch) {
            for (const each of batch) open.add(each);
            receive.deliver(batch);
          },
        });
        return {
          ...source,
          settle(batch) {
            for (const { delivery } of batch) open.delete(delivery);
            return source.settle(batch);
          },
          async stop() {
            await source.settle([...open].map((delivery) => ({ kind: 'done', delivery })));
            await source.stop();
          },
        };
      },
    }),
  ],
  [
    'delivers more than the prefetch',
    'no more than the prefetch',
    (honest) => ({
      subscribe: (subscription, receive) =>
        honest.subscribe({ ...subscription, prefetch: subscription.prefetch + 1 }, receive),
    }),
  ],
  ['delivers a batch backwards', 'are handled one at a time, in order', delivered((batch) => batch.toReversed())],
  [
    'puts a key into any partition',
    'order holds while consumers come and go',
    published((message, index) =>
      message.partition === undefined ? message : { ...message, partition: index % message.topology.partitions },
    ),
  ],
  ['has one lane for all', 'high overtakes a backlog', published((message) => ({ ...message, lane: 'normal' }))],
  [
    'dead-letters without the bytes',
    'a dead letter keeps bytes',
    lettered((store) => ({
      async *scan(options) {
        for await (const page of store.scan(options))
          yield page.map((letter) => ({ ...letter, message: { ...letter.message, body: new Uint8Array() } }));
      },
    })),
  ],
  [
    'drops instead of dead-lettering',
    'poison beside the good',
    settled((each) => (each.kind === 'dead' ? { kind: 'done', delivery: each.delivery } : each)),
  ],
  [
    'replays and keeps the letter',
    'a replayed letter is handled',
    lettered(() => ({ replay: async (letters) => letters.map(() => 'settled') })),
  ],
  [
    'removes a letter without replaying it',
    'a replay that is interrupted',
    lettered((store) => ({ replay: (letters) => store.discard(letters) })),
  ],
  [
    'forgets the run of a replay',
    'replays no letter twice',
    lettered((store) => ({ replay: (letters) => store.replay(letters, {}) })),
  ],
  [
    'removes an edited letter and sends nothing',
    'an edited letter is a new message',
    lettered((store) => ({ replace: (replacements) => store.discard(replacements.map(({ letter }) => letter)) })),
  ],
  [
    'gives letters places that do not last',
    'listed page by page',
    lettered((store) => ({
      async *scan(options) {
        let place = 0;
        for await (const page of store.scan({ ...options, after: undefined }))
          yield page.map((letter) => ({ ...letter, place: String(place++).padStart(4, '0') }));
      },
    })),
  ],
  [
    'takes unknown for nothing',
    'the backlog tells',
    (honest) => ({ backlog: async (topology, group) => ({ ...(await honest.backlog(topology, group)), dead: 0 }) }),
  ],
  [
    'declares less',
    'the adapter has the capabilities',
    (honest) => ({ capabilities: { ...honest.capabilities, order: 'none' } }),
  ],
];
