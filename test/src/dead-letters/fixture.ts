import { memory } from '../../../adapters/memory/index.ts';
import {
  type Client,
  connect,
  DeadLetter,
  type DeadLetters,
  type Letter,
  type Message,
  type Topic,
} from '../../../src/index.ts';
import type { BrokerAdapter, DeadLetterStore } from '../../../src/port.ts';

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export async function all(letters: AsyncIterable<Letter>): Promise<Letter[]> {
  const found: Letter[] = [];
  for await (const letter of letters) found.push(letter);
  return found;
}
export const idsOf = async (letters: AsyncIterable<Letter>): Promise<string[]> =>
  (await all(letters)).map(({ id }) => id);

/** The memory broker with another dead letter store in front of its own. */
export function withStore(change: (honest: DeadLetterStore) => Partial<DeadLetterStore>): BrokerAdapter {
  const honest = memory();
  return {
    ...honest,
    deadLetters(topology, group) {
      const store = honest.deadLetters(topology, group);
      return { ...store, ...change(store) };
    },
  };
}

export interface Bench {
  readonly client: Client;
  readonly letters: DeadLetters<number>;
  /** Publishes numbers and lets each die in group `g` for the reason given. */
  bury(numbers: readonly number[], reason?: string): Promise<void>;
  /** Handles what comes from now on; what `work` throws is dead at once. */
  handle(work?: (message: Message<number>) => unknown): Promise<Message<number>[]>;
}

/** A client on a broker of its own, and the dead letters of a topic's group `g`. Ids are `m-<number>`. */
export async function bench(topic: Topic<number>, adapter: BrokerAdapter = memory()): Promise<Bench> {
  const client = await connect({ adapter, source: 'tests' });
  const letters = client.deadLetters(topic, 'g');
  return {
    client,
    letters,
    async bury(numbers, reason = 'bad') {
      const before = await letters.count();
      const consumer = await client.consume(topic, { group: 'g' }, () => {
        throw new DeadLetter(reason);
      });
      for (const n of numbers) {
        await client.publish(topic, n, { id: `m-${n}`, key: `k-${n}` });
        await until(async () => (await letters.count()) > before + numbers.indexOf(n));
      }
      await consumer.close();
    },
    async handle(work) {
      const messages: Message<number>[] = [];
      await client.consume(topic, { group: 'g', retry: { immediate: { retries: 0 }, delays: [] } }, async (message) => {
        messages.push(message);
        await work?.(message);
      });
      return messages;
    },
  };
}
