import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { memory } from '../../../adapters/memory/index.ts';
import {
  type Client,
  connect,
  DeadLetter,
  defineTopic,
  type LetterEdit,
  type Message,
  type Topic,
} from '../../../src/index.ts';
import type { BrokerAdapter } from '../../../src/port.ts';
import { fakeInbox } from '../fake-adapter.ts';
import { all, until, withStore } from './fixture.ts';

interface Order {
  readonly n: number;
  readonly to: string;
}
const orders = defineTopic('orders', {
  schema: z.object({ n: z.number(), to: z.string() }),
  key: (order) => order.to,
  dedupeKey: (order) => `order-${order.n}`,
  groups: { g: {}, board: { order: 'key' } },
  partitions: 4,
});
const open: Client[] = [];
afterEach(async () => {
  for (const client of open.splice(0)) await client.close({ drainMs: 0 });
});

/** Two orders, dead in group `g`; what comes after is handled or fails as `works` says. */
async function begin<T>(topic: Topic<T>, payloads: readonly T[], adapter: BrokerAdapter = memory(), group = 'g') {
  const client = await connect({ adapter, source: 'shop' });
  open.push(client);
  const letters = client.deadLetters(topic, group);
  const consumer = await client.consume(topic, { group }, () => {
    throw new DeadLetter('bad');
  });
  for (const [index, payload] of payloads.entries())
    await client.publish(topic, payload, { id: `old-${index}`, headers: { trace: 't-1' }, expiresInMs: 60_000 });
  await until(async () => (await letters.count()) === payloads.length);
  await consumer.close();
  const messages: Message<T>[] = [];
  const state = { fails: false };
  const inbox = fakeInbox();
  await client.consume(topic, { group, inbox }, (message) => {
    messages.push(message as Message<T>);
    if (state.fails) throw new DeadLetter('bad again');
  });
  return { client, letters, messages, state, inbox };
}
const two: readonly Order[] = [
  { n: 1, to: 'nobody' },
  { n: 2, to: 'bob' },
];

describe('an edited replay', () => {
  it('S12: is a new message with a new id and identity, and says which one it was', async () => {
    const { letters, messages } = await begin(orders, two);
    const before = Date.now();
    const result = await letters.replay({
      edit: (letter) => (letter.key === 'nobody' ? { payload: { n: 1, to: 'alice' } } : undefined),
    });
    expect(result).toEqual({ replayed: 2 });
    await until(() => messages.length === 2);
    const edited = messages.find(({ id }) => id !== 'old-1')!;
    expect(edited).toMatchObject({ payload: { n: 1, to: 'alice' }, key: 'alice', source: 'shop', attempt: 1 });
    expect(edited.id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(edited.dedupeKey).toBeUndefined();
    expect({ ...edited.headers }).toEqual({ trace: 't-1', 'causation-id': 'old-0' });
    expect(edited.publishedAt.getTime()).toBeGreaterThanOrEqual(before);
    const same = messages.find(({ id }) => id === 'old-1')!;
    expect(same).toMatchObject({ payload: { n: 2, to: 'bob' }, dedupeKey: 'order-2' });
    expect({ ...same.headers }).toEqual({ trace: 't-1' });
    expect(await letters.count()).toBe(0);
  });

  it('passes an inbox that has handled the old one', async () => {
    const { letters, messages, inbox } = await begin(orders, two);
    const claims = [1, 2].map((n) => ({ group: 'g', topic: 'orders', identity: `key:order-${n}` }));
    await inbox.run(claims, new AbortController().signal, async () => undefined);
    expect(await letters.replay({ inbox, edit: () => ({ headers: {} }) })).toEqual({ replayed: 2, alreadyHandled: 0 });
    await until(() => messages.length === 2);
  });

  it('that would not be published is not sent: its letter stays, and the error names it', async () => {
    const { letters, messages } = await begin(orders, two);
    const edits: readonly [LetterEdit<never>, object][] = [
      [{ payload: { n: 'one' } as never }, { code: 'schema-mismatch' }],
      [{ body: Buffer.from('{') }, { code: 'undecodable' }],
      [{ body: Buffer.from('{"n":1}') }, { code: 'schema-mismatch' }],
      [{ headers: { 'x-secret': '1' } }, { code: 'invalid-message' }],
      [{ headers: { 'hf-id': '1' } }, { code: 'invalid-message' }],
      [{ key: '\0' }, { code: 'invalid-message' }],
      [{ body: new Uint8Array(2 * 1024 * 1024) }, { code: 'message-too-large' }],
    ];
    for (const [edit, error] of edits) {
      for (const dryRun of [true, false]) {
        const failed = letters.replay({ edit: () => edit as LetterEdit<Order>, dryRun });
        await expect(failed).rejects.toMatchObject({ ...error, details: { letter: 'old-0' } });
      }
    }
    const wrong = { payload: two[0]!, body: new Uint8Array() };
    await expect(letters.replay({ edit: () => wrong })).rejects.toThrow('not both');
    await expect(letters.replay({ edit: () => ({ paylod: 1 }) as never })).rejects.toThrow('did you mean "payload"');
    await expect(letters.replay({ edit: () => Promise.reject(new Error('mine')) })).rejects.toThrow('mine');
    expect(await letters.count()).toBe(2);
    expect(messages).toEqual([]);
  });

  it('keeps the bytes that it was given, also of a buffer that is used for each letter anew', async () => {
    const { letters, messages } = await begin(orders, two);
    const shared = Buffer.alloc(20);
    await letters.replay({
      edit({ id }) {
        shared.write(id === 'old-0' ? '{"n":1,"to":"alice"}' : '{"n":2,"to":"carol"}');
        return { body: shared };
      },
    });
    await until(() => messages.length === 2);
    expect(messages.map(({ payload }) => payload.to).sort()).toEqual(['alice', 'carol']);
  });

  it('that dies is an ordinary letter with the link, and can be edited again', async () => {
    const { letters, messages, state } = await begin(orders, two.slice(0, 1));
    state.fails = true;
    const startedAt = new Date();
    await letters.replay({ startedAt, edit: () => ({ payload: { n: 3, to: 'carol' } }) });
    await until(async () => (await letters.count()) === 1);
    const [letter] = await all(letters.list());
    expect(letter).toMatchObject({ id: messages[0]!.id, key: 'carol', reason: 'bad again' });
    expect(letter!.headers['causation-id']).toBe('old-0');
    expect(await letters.replay({ startedAt, edit: () => ({}) })).toMatchObject({ replayed: 0 });
    state.fails = false;
    await letters.replay({ edit: () => ({ headers: { trace: 't-2' }, expiresInMs: 60_000 }) });
    await until(() => messages.length === 2);
    expect({ ...messages[1]!.headers }).toEqual({ trace: 't-2', 'causation-id': messages[0]!.id });
    expect(messages[1]!.payload).toEqual({ n: 3, to: 'carol' });
  });

  it('has one id for one letter, so that an inbox knows a copy that was sent twice', async () => {
    // As a broker without atomic moves, whose letters stay when the process dies between copy and removal.
    const ids: string[] = [];
    const spy = withStore(() => ({
      async replace(replacements) {
        ids.push(...replacements.map(({ message }) => message.id));
        return replacements.map(() => 'unknown' as const);
      },
    }));
    const { letters } = await begin(orders, two, spy);
    for (const to of ['alice', 'alice', 'dora']) {
      const result = await letters.replay({ edit: (letter) => ({ payload: { n: letter.attempts, to } }) });
      expect(result).toEqual({ replayed: 0, unknown: 2 });
    }
    expect(new Set(ids).size).toBe(2);
    expect(ids.slice(0, 2)).toEqual(ids.slice(2, 4));
    expect(await letters.count()).toBe(2);
  });

  it('takes a key of its own to its own partition, and needs one where a group is ordered', async () => {
    const plain = defineTopic<Order>('plain', {
      groups: { board: { order: 'key' } },
      partitions: 4,
      key: ({ to }) => to,
    });
    const { letters, messages } = await begin(plain, two, memory(), 'board');
    await letters.replay({ where: { key: 'bob' }, edit: () => ({ key: 'erin' }) });
    await until(() => messages.length === 1);
    expect(messages[0]).toMatchObject({ key: 'erin', payload: { n: 2, to: 'bob' } });
    await letters.replay({ edit: () => ({ body: Buffer.from('{"n":9,"to":"x"}') }) });
    await until(() => messages.length === 2);
    expect(messages[1]).toMatchObject({ key: 'nobody', payload: { n: 9, to: 'x' } });
  });
});
