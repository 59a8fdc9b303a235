import type { StandardSchemaV1 } from '@standard-schema/spec';
import { expect, it } from 'vitest';
import { connect, defineTopic } from '../../../src/index.ts';
import { confirmAll, fakeAdapter, gate } from '../fake-adapter.ts';

interface Item {
  readonly key: string;
  n: number;
}

/** Waits for a payload's gate, if it has one; refuses what is below zero. */
function slow(gates: Readonly<Record<number, Promise<unknown>>>): StandardSchemaV1<Item, Item> {
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate(value) {
        const item = value as Item;
        const result = item.n < 0 ? { issues: [{ message: 'below zero' }] } : { value: item };
        return gates[item.n] === undefined ? result : gates[item.n]!.then(() => result);
      },
    },
  };
}

async function publishingBy(schema: StandardSchemaV1<Item, Item>, order: 'key' | 'none') {
  const sent: number[] = [];
  const client = await connect({
    adapter: fakeAdapter({
      async publish(batch) {
        for (const { body } of batch) sent.push((JSON.parse(Buffer.from(body).toString()) as Item).n);
        return confirmAll(batch);
      },
    }),
  });
  const topic = defineTopic(`async.${order}`, { schema, key: ({ key }) => key, groups: { g: { order } } });
  return { client, topic, sent };
}

it('S13: a publish whose schema is still awaited is not overtaken by a later one of an ordered topic', async () => {
  const first = gate<void>();
  const { client, topic, sent } = await publishingBy(slow({ 1: first.opened, 3: Promise.resolve() }), 'key');
  const all = [1, 2, 3, 4].map((n) => client.publish(topic, { key: 'k', n }));
  first.open();
  await Promise.all(all);
  expect(sent).toEqual([1, 2, 3, 4]);
  await client.close();
});

it('S13: one that its schema refuses lets its successors go', async () => {
  const refused = gate<void>();
  const { client, topic, sent } = await publishingBy(slow({ [-1]: refused.opened }), 'key');
  const bad = client.publish(topic, { key: 'k', n: -1 });
  const good = client.publish(topic, { key: 'k', n: 2 });
  refused.open();
  await expect(bad).rejects.toMatchObject({ code: 'schema-mismatch' });
  await good;
  expect(sent).toEqual([2]);
  await client.close();
});

it('S13: without order nothing waits for a slow schema', async () => {
  const first = gate<void>();
  const { client, topic, sent } = await publishingBy(slow({ 1: first.opened }), 'none');
  const one = client.publish(topic, { key: 'k', n: 1 });
  await client.publish(topic, { key: 'k', n: 2 });
  first.open();
  await one;
  expect(sent).toEqual([2, 1]);
  await client.close();
});

it('S13: what is changed while a schema is awaited is not sent', async () => {
  const first = gate<void>();
  const { client, topic, sent } = await publishingBy(slow({ 1: first.opened }), 'none');
  const item: Item = { key: 'k', n: 1 };
  const publishing = client.publish(topic, item);
  item.n = 99;
  first.open();
  await publishing;
  expect(sent).toEqual([1]);
  await client.close();
});

it('S11: a schema that never answers has until the publish’s deadline, or until it is aborted', async () => {
  const { client, topic } = await publishingBy(slow({ 1: new Promise(() => undefined) }), 'key');
  const abort = new AbortController();
  const late = client.publish(topic, { key: 'k', n: 1 }, { timeoutMs: 10 });
  const aborted = client.publish(topic, { key: 'k', n: 1 }, { signal: abort.signal });
  await expect(late).rejects.toMatchObject({ code: 'publish-timeout', outcome: 'not-sent' });
  abort.abort();
  await expect(aborted).rejects.toMatchObject({ code: 'publish-aborted', outcome: 'not-sent' });
  await client.publish(topic, { key: 'k', n: 2 });
  await client.close();
});

it('S13: one that gave up waiting for its turn lets nobody overtake what was before it', async () => {
  const first = gate<void>();
  const { client, topic, sent } = await publishingBy(slow({ 1: first.opened }), 'key');
  const one = client.publish(topic, { key: 'k', n: 1 });
  await expect(client.publish(topic, { key: 'k', n: 2 }, { timeoutMs: 10 })).rejects.toMatchObject({
    code: 'publish-timeout',
    outcome: 'not-sent',
  });
  const three = client.publish(topic, { key: 'k', n: 3 });
  first.open();
  await Promise.all([one, three]);
  expect(sent).toEqual([1, 3]);
  await client.close();
});
