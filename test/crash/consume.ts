/** The groups' consumers: each handler writes down what it is given, fails as the message's fate says, and does its work. */

import type { Client } from '../../src/client.ts';
import type { ConsumeOptions } from '../../src/consume/options.ts';
import { DeadLetter } from '../../src/errors.ts';
import type { Message } from '../../src/message.ts';
import type { Topic } from '../../src/topic.ts';
import type { Case, HandlerName } from './case.ts';
import type { LedgerFile } from './ledger.ts';
import { fateOf, groupsOf, type Payload } from './messages.ts';
import type { Note, Stores } from './stores.ts';

export interface Consuming {
  readonly client: Client;
  readonly topic: Topic<Payload>;
  readonly stores: Stores;
  readonly ledger: LedgerFile;
  /** From now on what could not be handled can be. */
  readonly mended: Note;
  handled(group: string, n: number): void;
}

/** Leases are short, since who takes over waits for them. */
const OPTIONS = { leaseMs: 800, retry: { immediate: { retries: 0 }, delays: [20, 20] } };
const CALLS: Readonly<Record<HandlerName, number>> = { one: 4, batch: 2 };
const BATCH = { size: 3, waitMs: 20 };
export const messagesAtOnce: Readonly<Record<HandlerName, number>> = {
  one: CALLS.one,
  batch: CALLS.batch * BATCH.size,
};

type Way = Pick<Case, 'workload' | 'handler'>;
type Each = (message: Message<Payload>, tx: unknown) => void | Promise<void>;

export async function consumeAll(consuming: Consuming, { workload, handler }: Way): Promise<void> {
  await Promise.all(groupsOf[workload].map((group) => consumeAs(consuming, group, handler)));
}

async function consumeAs(consuming: Consuming, group: string, handler: HandlerName): Promise<void> {
  const { client, topic, stores, ledger } = consuming;
  const begin = (message: Message<Payload>): void => {
    ledger.write({ event: 'delivered', group, n: message.payload.n, id: message.id });
    failAsFated(group, message, consuming.mended);
  };
  const each: Each =
    group === 'once'
      ? async (message, tx) => {
          begin(message);
          const { n, edited } = message.payload;
          await stores.effect(tx, { n, edited: edited === true }, `${message.id} ${message.attempt}`);
        }
      : (message) => {
          begin(message);
          const { n } = message.payload;
          ledger.write({ event: 'handled', group, n, id: message.id });
          consuming.handled(group, n);
        };
  const options = { ...OPTIONS, ...ownOf(group, stores), group, concurrency: CALLS[handler] };
  if (handler === 'one') {
    await client.consume(topic, options, (message, { tx }) => each(message, tx));
    return;
  }
  await client.consumeBatches(topic, { ...options, batch: BATCH }, async (messages, { tx, fail }) => {
    ledger.write({ event: 'batch', group, size: messages.length });
    for (const message of messages) {
      try {
        await each(message, tx);
      } catch (error) {
        fail(message, error);
      }
    }
  });
}

function ownOf(group: string, { store, dedupe }: Stores): Partial<ConsumeOptions<unknown>> {
  switch (group) {
    case 'once':
      return { inbox: store.inbox };
    case 'stop':
      return { onExhausted: 'halt-key', halts: store.halts, retry: { ...OPTIONS.retry, delays: [] } };
    case 'near':
      return { dedupe };
    default:
      return {};
  }
}

function failAsFated(group: string, { payload, attempt }: Message<Payload>, mended: Note): void {
  const { n, edited } = payload;
  switch (fateOf(group, n)) {
    case 'retry':
      if (attempt === 1) throw new Error('fails once');
      return;
    case 'replayed':
      if (!mended.there) throw new DeadLetter('broken');
      return;
    case 'edited':
      if (edited !== true) throw new DeadLetter('wrong');
      return;
    case 'discarded':
    case 'dead':
      throw new DeadLetter('worthless');
    case 'halted':
      if (!mended.there) throw new DeadLetter('not now');
      return;
    default:
      return;
  }
}
