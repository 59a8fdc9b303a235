import { expect, it } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import {
  type Client,
  connect,
  DeadLetter,
  defineTopic,
  type Message,
  memoryDedupe,
  memoryHalts,
} from '../../../src/index.ts';
import { fakeInbox, gate } from '../fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const once = { immediate: { retries: 0 }, delays: [] } as const;
const batch = { size: 10, waitMs: 1_000 };

/** Ten messages, published before anybody consumes them, so that they come as one batch. */
async function ten(): Promise<Client> {
  const client = await connect({ adapter: memory() });
  await client.publishAll(topic, [...Array(10).keys()], (n) => ({ id: `m-${n}` }));
  return client;
}

async function dead(client: Client): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const letter of client.deadLetters(topic, 'g').list()) ids.push(letter.id);
  return ids;
}

it('S25: a message that fail() dead-letters takes none of its transaction with it', async () => {
  const client = await ten();
  const handled = new Set<number>();
  const all = gate();
  await client.consumeBatches(topic, { group: 'g', inbox: fakeInbox(), retry: once, batch }, (messages, { fail }) => {
    for (const message of messages) {
      if (message.payload === 3) fail(message, new DeadLetter('three'));
      else if (messages.length === 1) handled.add(message.payload);
    }
    if (handled.size === 9) all.open();
  });
  await all.opened;
  await client.close();
  expect(handled).toEqual(new Set([0, 1, 2, 4, 5, 6, 7, 8, 9]));
});

it('S25: a batch that throws is handled singly, one at a time, whatever the retry policy', async () => {
  const client = await ten();
  const attempts = new Map<number, number>();
  const through = gate();
  let running = 0;
  let most = 0;
  client.on('dead-lettered', () => attempts.size === 9 && through.open());
  client.on('handled', () => attempts.size === 9 && through.open());
  await client.consumeBatches(topic, { group: 'g', concurrency: 1, retry: once, batch }, async (messages) => {
    if (messages.length > 1) throw new Error('one of you is bad');
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    const [{ payload, attempt }] = messages as [Message<number>];
    if (payload === 3) throw new Error('three');
    attempts.set(payload, attempt);
  });
  await through.opened;
  while ((await dead(client)).length === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(await dead(client)).toEqual(['m-3']);
  expect([...attempts.values()]).toEqual(Array(9).fill(1));
  expect(most).toBe(1);
  await client.close();
});

it('an inbox that is away for a moment costs a batch no attempt', async () => {
  const client = await ten();
  let calls = 0;
  const seen = gate<readonly number[]>();
  const inbox = fakeInbox(() => ++calls === 1);
  await client.consumeBatches(topic, { group: 'g', inbox, batch }, (messages) =>
    seen.open(messages.map(({ attempt }) => attempt)),
  );
  expect(await seen.opened).toEqual(Array(10).fill(1));
  await client.close();
});

it('batches stay batches with dedupe, and hold no message twice', async () => {
  const client = await ten();
  await client.publishAll(topic, [0, 1, 2], (n) => ({ id: `m-${n}` }));
  const sizes: number[] = [];
  const ids: string[] = [];
  const known = gate();
  let duplicates = 0;
  client.on('duplicate', () => ++duplicates === 3 && known.open());
  await client.consumeBatches(
    topic,
    { group: 'g', dedupe: memoryDedupe(), batch: { size: 13, waitMs: 1_000 } },
    (messages) => {
      sizes.push(messages.length);
      ids.push(...messages.map(({ id }) => id));
    },
  );
  await known.opened;
  await client.close();
  expect(sizes).toEqual([10]);
  expect(new Set(ids).size).toBe(10);
});

it('handled is told for each message of a batch', async () => {
  const client = await ten();
  const ids: string[] = [];
  const all = gate();
  client.on('handled', ({ id }) => ids.push(id) === 10 && all.open());
  await client.consumeBatches(topic, { group: 'g', batch }, () => undefined);
  await all.opened;
  expect(new Set(ids).size).toBe(10);
  await client.close();
});

it.each(['its consumer closes', 'it is lost'] as const)(
  'G9: what a batch handler is told to leave, as %s, has not failed',
  async (why) => {
    const adapter = memory();
    const client = await connect({ adapter });
    await client.publishAll(topic, [1, 2, 3]);
    const events: unknown[] = [];
    for (const event of ['failed', 'breaker'] as const) client.on(event, (said) => events.push(said));
    const [begun, left] = [gate(), gate()];
    const consumer = await client.consumeBatches(
      topic,
      { group: 'g', batch: { size: 3, waitMs: 1_000 }, breaker: { failures: 2 } },
      async (_, { signal }) => {
        begun.open();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        left.open();
        throw signal.reason;
      },
    );
    await begun.opened;
    if (why === 'it is lost') adapter.disconnect();
    const closed = consumer.close({ drainMs: why === 'it is lost' ? 10_000 : 0 });
    await left.opened;
    await closed;
    expect(events).toEqual([]);
    await client.close();
  },
);

it('a batch passes the crash points that a message by itself passes: its key was looked up, it is handled', async () => {
  const keyed = defineTopic<number>('keyed', { key: () => 'k', groups: { g: { order: 'key' } } });
  const points: string[] = [];
  const called = gate();
  const crashPoint = (name: string): void => void points.push(name);
  const client = await connect({ adapter: memory(), crashPoint });
  const options = { group: 'g', onExhausted: 'halt-key', halts: memoryHalts(), batch: { size: 10 } } as const;
  await client.consumeBatches(keyed, options, () => {
    points.push('called');
    called.open();
  });
  await client.publish(keyed, 1);
  await called.opened;
  await client.close();
  expect(points.filter((name) => /^called$|^halt:|^consume:|^settle:/.test(name))).toEqual([
    'halt:entered',
    'called',
    'consume:handled',
    'settle:sending',
    'settle:answered',
  ]);
});
