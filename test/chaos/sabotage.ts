/**
 * Builds that are broken on purpose, to see the checker red: at the port between the core and its adapters, or, where the
 * mistake lies deeper, in a line of the product. Each is a mistake that services and libraries really make.
 */

import type { BrokerAdapter, Headers, Inbox, Outbox } from 'holdfast';
import type { ScenarioName } from './scenario.ts';
import { over, relaying, subscribing } from './wrap.ts';

/** A text that occurs once in a file of the product, and what stands there instead. */
export interface Patch {
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

interface Sabotage {
  readonly what: string;
  /** The violation by which the checker must see it. */
  readonly shows: 'LOST' | 'PHANTOM' | 'DOUBLE' | 'INVERTED' | 'ATTEMPTS';
  /** @default deaths */
  readonly scenario?: ScenarioName;
  readonly adapter?: (adapter: BrokerAdapter) => BrokerAdapter;
  readonly inbox?: <Tx>(inbox: Inbox<Tx>, outbox: Outbox<Tx>) => Inbox<Tx>;
  readonly outbox?: <Tx>(outbox: Outbox<Tx>) => Outbox<Tx>;
  readonly patch?: Patch;
}

export const sabotages = {
  'ack-before-handle': {
    what: 'acknowledges what is delivered before it is handled',
    shows: 'LOST',
    adapter: (adapter) =>
      subscribing(adapter, () => ({
        receive: (receive, source) => ({
          deliver(batch) {
            const all = batch.map((delivery) => ({ kind: 'done', delivery }) as const);
            source.then(({ settle }) => settle(all)).catch(() => undefined);
            receive.deliver(batch);
          },
        }),
      })),
  },
  'mark-before-confirm': {
    what: 'the relay deletes rows before they are confirmed',
    shows: 'LOST',
    outbox: (outbox) =>
      relaying(outbox, {
        async read(leases, limit) {
          const rows = await outbox.relay.read(leases, limit);
          const sent = rows.map(({ rowId, shard }) => ({ rowId, shard, kind: 'sent' }) as const);
          await outbox.relay.settle(leases, sent);
          return rows;
        },
      }),
  },
  'cursor-relay': {
    what: 'the relay reads on from the highest row id that it has seen',
    shows: 'LOST',
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
  'no-mandatory': {
    what: 'RabbitMQ is not asked to return what no queue takes',
    shows: 'LOST',
    scenario: 'early',
    patch: {
      file: 'adapters/rabbitmq/headers.ts',
      find: 'mandatory: true,\n    messageId: message.id',
      put: 'mandatory: false,\n    messageId: message.id',
    },
  },
  'dedupe-outside': {
    what: 'the inbox is committed before the handler runs, in a transaction of its own',
    shows: 'LOST',
    inbox: (inbox, outbox) =>
      over(inbox, {
        async run(claims, signal, work) {
          const fresh = await inbox.run(claims, signal, async () => undefined);
          if (fresh.length > 0) await outbox.transaction((tx) => work(tx, fresh));
          return fresh;
        },
      }),
  },
  'fresh-id-on-retry': {
    what: 'a message that is sent again gets another id',
    shows: 'PHANTOM',
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
  'requeue-in-order': {
    what: 'a failed message of an ordered group goes back to the end of its queue',
    shows: 'INVERTED',
    patch: {
      file: 'src/consume/outcome.ts',
      find: 'if (context.ordered) {\n    await countSoFar(work, context);\n    context.hold(work, wholeMs(delayMs));',
      put: 'if (false) {\n    await countSoFar(work, context);\n    context.hold(work, wholeMs(delayMs));',
    },
  },
  'swallowed-nack': {
    what: 'what was refused, or never answered, counts as confirmed',
    shows: 'LOST',
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
    shows: 'LOST',
    adapter: (adapter) =>
      subscribing(adapter, () => ({
        source: (source) => ({
          async settle(batch) {
            const buried = batch.filter(({ kind }) => kind === 'dead');
            if (buried.length > 0) await source.settle(buried.map(({ delivery }) => ({ kind: 'done', delivery })));
            return source.settle(batch);
          },
        }),
      })),
  },
  'attempts-in-memory': {
    what: 'each process counts attempts for itself, and forgets them when it ends',
    shows: 'ATTEMPTS',
    adapter(adapter) {
      const remembered = new Map<string, Headers>();
      return subscribing(adapter, (group) => ({
        receive: (receive) => ({
          deliver: (batch) =>
            receive.deliver(
              batch.map((delivery) => {
                const { message } = delivery;
                return { ...delivery, message: { ...message, marks: remembered.get(`${group} ${message.id}`) ?? {} } };
              }),
            ),
        }),
        source: (source) => ({
          settle: (batch) =>
            source.settle(
              batch.map((settlement) => {
                if (settlement.kind !== 'retry') return settlement;
                remembered.set(`${group} ${settlement.delivery.message.id}`, settlement.marks);
                return { ...settlement, marks: {} };
              }),
            ),
          async mark({ message }, marks) {
            remembered.set(`${group} ${message.id}`, marks);
            return 'settled';
          },
        }),
      }));
    },
  },
  'wall-clock-lease': {
    what: 'leases of the outbox end by the clock of the process that took them',
    shows: 'LOST',
    patch: {
      file: 'adapters/postgres/leases.ts',
      find: '(renewAndTake, [owner, ttlMs])',
      put: "(renewAndTake.replaceAll('clock_timestamp()', 'to_timestamp(' + Date.now() / 1_000 + ')'), [owner, ttlMs])",
    },
  },
  'revoked-commit': {
    what: 'a rebalance commits the partitions that it takes away as far as they were handed out',
    shows: 'LOST',
    scenario: 'rebalances',
    patch: {
      file: 'adapters/kafka/group.ts',
      find: 'share.opened ? watermark(share) : undefined',
      put: 'share.opened ? (note === moved ? share.handedOutTo + 1 : watermark(share)) : undefined',
    },
  },
  'no-inbox': {
    what: 'effects in a transaction, but nobody remembers the message',
    shows: 'DOUBLE',
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
} satisfies Readonly<Record<string, Sabotage>>;

export type SabotageName = keyof typeof sabotages;
export const sabotageNames: readonly SabotageName[] = Object.keys(sabotages) as SabotageName[];
/** Beside the twelve of the list. */
export const EXTRA: readonly SabotageName[] = ['no-inbox'];

export const sabotageOf = (name: SabotageName | undefined): Partial<Sabotage> =>
  name === undefined ? {} : sabotages[name];
export const scenarioNameOf = (name: SabotageName): ScenarioName => sabotageOf(name).scenario ?? 'deaths';

/** `text` with the patch applied; throws where the product's line is no longer what it was. */
export function patched(text: string, { file, find, put }: Patch): string {
  const [before, after, ...more] = text.split(find);
  if (after === undefined || more.length > 0) throw new Error(`${file} does not have exactly one "${find}"`);
  return before + put + after;
}
