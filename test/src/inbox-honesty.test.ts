import { expect, it } from 'vitest';
import { memory } from '../../adapters/memory/index.ts';
import { connect, DeadLetter, defineTopic } from '../../src/index.ts';
import { fakeInbox, gate } from './fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });

it('S25: more handlers than the inbox has transactions are one warning, which names both numbers', async () => {
  const client = await connect({ adapter: memory() });
  const warnings: unknown[] = [];
  client.on('warning', (warning) => warnings.push(warning));
  const inbox = fakeInbox();
  await (await client.consume(topic, { group: 'g', concurrency: 10, inbox }, () => undefined)).close();
  expect(warnings).toEqual([]);
  await client.consume(topic, { group: 'g', concurrency: 11, inbox }, () => undefined);
  expect(warnings).toEqual([
    {
      code: 'inbox-concurrency',
      detail:
        'group "g" of topic "numbers" has a concurrency of 11, but its inbox runs 10 transactions at once: the other handlers wait for one',
    },
  ]);
  await client.close();
});

it('replay says how many of the letters the inbox knows as handled, beforehand too', async () => {
  const client = await connect({ adapter: memory() });
  const inbox = fakeInbox();
  const letters = client.deadLetters(topic, 'g');
  const dead = gate();
  let deadLettered = 0;
  client.on('dead-lettered', () => ++deadLettered === 3 && dead.open());
  const failing = await client.consume(topic, { group: 'g' }, () => {
    throw new DeadLetter('not today');
  });
  await client.publishAll(topic, [0, 1, 2], (n) => ({ id: `m-${n}` }));
  await dead.opened;
  await failing.close();

  const handled = gate();
  const again: string[] = [];
  const duplicates: string[] = [];
  const consumer = await client.consume(topic, { group: 'g', inbox }, ({ id }) => {
    again.push(id);
    if (again.length === 1) handled.open();
  });
  await client.publish(topic, 1, { id: 'm-1' });
  await handled.opened;
  while ((await inbox.seen([{ group: 'g', topic: 'numbers', identity: 'id:default/m-1' }]))[0] !== true)
    await new Promise((resolve) => setImmediate(resolve));

  expect(await letters.replay({ dryRun: true, inbox })).toEqual({ replayed: 3, alreadyHandled: 1 });
  expect(await letters.replay({ dryRun: true, inbox, where: { ids: ['m-0'] } })).toEqual({
    replayed: 1,
    alreadyHandled: 0,
  });
  client.on('duplicate', ({ id }) => duplicates.push(id));
  expect(await letters.replay({ ratePerSecond: 1_000, inbox })).toEqual({ replayed: 3, alreadyHandled: 1 });
  while (again.length < 3 || duplicates.length < 1) await new Promise((resolve) => setImmediate(resolve));
  expect(again.toSorted()).toEqual(['m-0', 'm-1', 'm-2']);
  expect(duplicates).toEqual(['m-1']);
  expect(Object.keys(await letters.replay())).toEqual(['replayed']);
  await consumer.close();
  await client.close();
});

it('an inbox that cannot be asked stops a replay before anything is sent', async () => {
  const client = await connect({ adapter: memory() });
  const dead = gate();
  client.on('dead-lettered', () => dead.open());
  await client.consume(topic, { group: 'g' }, () => {
    throw new DeadLetter('no');
  });
  await client.publish(topic, 1);
  await dead.opened;
  const letters = client.deadLetters(topic, 'g');
  const inbox = { ...fakeInbox(), seen: () => Promise.reject(new Error('the database is away')) };
  await expect(letters.replay({ inbox })).rejects.toMatchObject({ name: 'HoldfastError' });
  expect(await letters.count()).toBe(1);
  await client.close();
});
