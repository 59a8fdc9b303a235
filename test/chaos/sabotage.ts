/**
 * Broken on purpose, at the port between the core and its adapters, to see the checker red. Each is a mistake that
 * services and libraries really make.
 */

import type { BrokerAdapter, Inbox, Outbox, Settlement } from 'holdfast';
import type { Card } from './plan.ts';

interface Sabotage {
  readonly what: string;
  /** What must happen for it to show, in each window; the rest is as in any run. */
  readonly needs: readonly Card[];
  readonly adapter?: (adapter: BrokerAdapter) => BrokerAdapter;
  readonly inbox?: <Tx>(inbox: Inbox<Tx>, outbox: Outbox<Tx>) => Inbox<Tx>;
  readonly outbox?: <Tx>(outbox: Outbox<Tx>) => Outbox<Tx>;
}

export const sabotages = {
  'ack-before-handle': {
    what: 'acknowledges what is delivered before it is handled',
    needs: [{ kind: 'kill', target: 'consumer' }],
    adapter: (adapter) =>
      receiving(adapter, (batch, settle, pass) => {
        settle(batch.map((delivery) => ({ kind: 'done', delivery })));
        pass(batch);
      }),
  },
  'mark-before-confirm': {
    what: 'the relay deletes rows before they are confirmed',
    needs: [{ kind: 'kill', target: 'relay' }],
    outbox: (outbox) =>
      relaying(outbox, {
        async read(leases, limit) {
          const rows = await outbox.relay.read(leases, limit);
          await outbox.relay.settle(
            leases,
            rows.map(({ rowId, shard }) => ({ rowId, shard, kind: 'sent' })),
          );
          return rows;
        },
      }),
  },
  'cursor-relay': {
    what: 'the relay reads on from the highest row id that it has seen',
    needs: [],
    outbox(outbox) {
      let cursor = 0n;
      return relaying(outbox, {
        async read(leases, limit) {
          const rows = await outbox.relay.read(leases, limit);
          const fresh = rows.filter((row) => BigInt(row.rowId) > cursor);
          for (const { rowId } of fresh) if (BigInt(rowId) > cursor) cursor = BigInt(rowId);
          return fresh;
        },
      });
    },
  },
  'dedupe-outside': {
    what: 'the inbox is committed before the handler runs, in a transaction of its own',
    needs: [{ kind: 'kill', target: 'consumer' }],
    inbox: (inbox, outbox) =>
      over(inbox, {
        async run(claims, signal, work) {
          const fresh = await inbox.run(claims, signal, async () => undefined);
          if (fresh.length > 0) await outbox.transaction((tx) => work(tx, fresh));
          return fresh;
        },
      }),
  },
  'no-inbox': {
    what: 'effects in a transaction, but nobody remembers the message',
    needs: [
      { kind: 'kill', target: 'consumer' },
      { kind: 'kill', target: 'broker' },
    ],
    inbox: (inbox, outbox) =>
      over(inbox, {
        run: (claims, _signal, work) =>
          outbox.transaction(async (tx) => {
            const all = claims.map((_, index) => index);
            await work(tx, all);
            return all;
          }),
      }),
  },
  'fresh-id-on-retry': {
    what: 'a message that is sent again gets another id',
    needs: [{ kind: 'swallow', target: 'broker' }],
    adapter(adapter) {
      const sent = new Set<string>();
      const publish: BrokerAdapter['publish'] = (batch, limit) =>
        adapter.publish(
          batch.map((message) => {
            if (sent.has(message.id)) return { ...message, id: `${message.id}-again` };
            sent.add(message.id);
            return message;
          }),
          limit,
        );
      return over(adapter, { publish });
    },
  },
  'swallowed-nack': {
    what: 'what was refused, or never answered, counts as confirmed',
    needs: [
      { kind: 'kill', target: 'broker' },
      { kind: 'half-open', target: 'broker' },
    ],
    adapter: (adapter) =>
      over(adapter, {
        publish: async (batch, limit) => {
          const outcomes = await adapter.publish(batch, limit);
          return outcomes.map((outcome) => (outcome.kind === 'confirmed' ? outcome : { kind: 'confirmed' }));
        },
      }),
  },
  'dead-letter-after-ack': {
    what: 'a message is acknowledged before its dead letter is written',
    needs: [],
    adapter: (adapter) =>
      settling(adapter, async (batch, settle) => {
        const buried = batch.filter(({ kind }) => kind === 'dead');
        if (buried.length > 0) await settle(buried.map(({ delivery }) => ({ kind: 'done', delivery })));
        return settle(batch);
      }),
  },
  backwards: {
    what: 'what comes together is handled backwards, as where a failed message goes to the end of its queue',
    needs: [{ kind: 'pause', target: 'consumer' }],
    adapter: (adapter) => receiving(adapter, (batch, _settle, pass) => pass(batch.toReversed())),
  },
} satisfies Readonly<Record<string, Sabotage>>;

export type SabotageName = keyof typeof sabotages;
export const sabotageNames: readonly SabotageName[] = Object.keys(sabotages) as SabotageName[];

const of = (name: SabotageName | undefined): Sabotage | undefined => (name === undefined ? undefined : sabotages[name]);

export const needsOf = (name: SabotageName): Sabotage['needs'] => sabotages[name].needs;
export const sabotagedAdapter = (adapter: BrokerAdapter, name: SabotageName | undefined): BrokerAdapter =>
  of(name)?.adapter?.(adapter) ?? adapter;
export const sabotagedOutbox = <Tx>(outbox: Outbox<Tx>, name: SabotageName | undefined): Outbox<Tx> =>
  of(name)?.outbox?.(outbox) ?? outbox;
export const sabotagedInbox = <Tx>(inbox: Inbox<Tx>, outbox: Outbox<Tx>, name: SabotageName | undefined): Inbox<Tx> =>
  of(name)?.inbox?.(inbox, outbox) ?? inbox;

type Batch = Parameters<Parameters<BrokerAdapter['subscribe']>[1]['deliver']>[0];
type Settle = Awaited<ReturnType<BrokerAdapter['subscribe']>>['settle'];

/** The adapter, with something between what the broker delivers and what the core receives. */
function receiving(
  adapter: BrokerAdapter,
  change: (batch: Batch, settle: (settlements: readonly Settlement[]) => void, pass: (batch: Batch) => void) => void,
): BrokerAdapter {
  const subscribe: BrokerAdapter['subscribe'] = (subscription, receive) => {
    const subscribed = adapter.subscribe(subscription, {
      deliver: (batch) =>
        change(
          batch,
          (settlements) => {
            subscribed.then((source) => source.settle(settlements)).catch(() => undefined);
          },
          (passed) => receive.deliver(passed),
        ),
      revoked: (epoch) => receive.revoked(epoch),
    });
    return subscribed;
  };
  return over(adapter, { subscribe });
}

function settling(
  adapter: BrokerAdapter,
  change: (batch: readonly Settlement[], settle: Settle) => ReturnType<Settle>,
): BrokerAdapter {
  const subscribe: BrokerAdapter['subscribe'] = async (subscription, receive) => {
    const source = await adapter.subscribe(subscription, receive);
    return over(source, { settle: (batch) => change(batch, (changed) => source.settle(changed)) });
  };
  return over(adapter, { subscribe });
}

const relaying = <Tx>(outbox: Outbox<Tx>, members: Partial<Outbox<Tx>['relay']>): Outbox<Tx> =>
  over(outbox, { relay: over(outbox.relay, members) });

/** `original` with some members replaced; the others, getters too, stay its own. */
function over<T extends object>(original: T, members: Partial<T>): T {
  return Object.assign(Object.create(original) as T, members);
}
