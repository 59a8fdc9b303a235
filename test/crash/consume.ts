/** The groups' consumers: each handler writes down what it is given, fails as the message's fate says, and does its work. */

import type { DatabaseSync } from 'node:sqlite';
import type { Client } from '../../src/client.ts';
import { DeadLetter } from '../../src/errors.ts';
import type { Message } from '../../src/message.ts';
import type { Topic } from '../../src/topic.ts';
import type { LedgerFile } from './ledger.ts';
import { fateOf, groupsOf, type Payload, type Workload } from './messages.ts';
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
const OPTIONS = { concurrency: 4, leaseMs: 800, retry: { immediate: { retries: 0 }, delays: [20, 20] } };

export async function consumeAll(consuming: Consuming, workload: Workload): Promise<void> {
  await Promise.all(groupsOf[workload].map((group) => consumeAs(consuming, group)));
}

async function consumeAs(consuming: Consuming, group: string): Promise<void> {
  const { client, topic, stores, ledger } = consuming;
  const done = (message: Message<Payload>): void => {
    const { n } = message.payload;
    ledger.write({ event: 'handled', group, n, id: message.id });
    consuming.handled(group, n);
  };
  const begin = (message: Message<Payload>): void => {
    ledger.write({ event: 'delivered', group, n: message.payload.n, id: message.id });
    failAsFated(group, message, consuming.mended);
  };
  if (group === 'once') {
    await client.consume(topic, { ...OPTIONS, group, inbox: stores.store.inbox }, (message, { tx }) => {
      begin(message);
      const { n, edited } = message.payload;
      const by = `${message.id} ${message.attempt}`;
      (tx as DatabaseSync).prepare('INSERT INTO effects (n, edited, by) VALUES (?, ?, ?)').run(n, edited ? 1 : 0, by);
    });
    return;
  }
  const own =
    group === 'stop'
      ? { onExhausted: 'halt-key' as const, halts: stores.store.halts, retry: { ...OPTIONS.retry, delays: [] } }
      : group === 'near'
        ? { dedupe: stores.dedupe }
        : {};
  await client.consume(topic, { ...OPTIONS, ...own, group }, (message) => {
    begin(message);
    done(message);
  });
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
