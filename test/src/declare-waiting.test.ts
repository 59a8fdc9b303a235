import { expect, it } from 'vitest';
import { connect, defineTopic } from '../../src/index.ts';
import { confirmAll, fakeAdapter, gate, Transient } from './fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });

it('each publish waits for the first declaration for its own time', async () => {
  const declared = gate();
  const client = await connect({ adapter: fakeAdapter({ declare: () => declared.opened }) });
  const patient = client.publish(topic, 1);
  await expect(client.publish(topic, 2, { timeoutMs: 20 })).rejects.toMatchObject({
    code: 'publish-timeout',
    outcome: 'not-sent',
  });
  declared.open();
  await expect(patient).resolves.toMatchObject({ outcome: 'confirmed' });
  await client.close();
});

it('a publish in a hurry that came first does not cut short the others', async () => {
  const declared = gate();
  const client = await connect({ adapter: fakeAdapter({ declare: () => declared.opened }) });
  const hurried = client.publish(topic, 1, { timeoutMs: 20 });
  const patient = client.publish(topic, 2);
  await expect(hurried).rejects.toMatchObject({ code: 'publish-timeout' });
  declared.open();
  await expect(patient).resolves.toMatchObject({ outcome: 'confirmed' });
  await client.close();
});

it('S11: what the declaration took is taken off the time to publish', async () => {
  const deadlines: number[] = [];
  const adapter = fakeAdapter({
    declare: () => new Promise((resolve) => setTimeout(resolve, 20)),
    async publish(batch, { deadline }) {
      deadlines.push(deadline);
      return confirmAll(batch);
    },
  });
  const client = await connect({ adapter });
  const publishing = client.publish(topic, 1, { timeoutMs: 10_000 });
  const latest = Date.now() + 10_000;
  await publishing;
  expect(deadlines[0]).toBeLessThanOrEqual(latest);
  await client.close();
});

it('an abort ends the wait for the declaration, and nothing is sent', async () => {
  const client = await connect({ adapter: fakeAdapter({ declare: () => new Promise(() => undefined) }) });
  const abort = new AbortController();
  const publishing = client.publish(topic, 1, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(publishing).rejects.toMatchObject({ code: 'publish-aborted', outcome: 'not-sent' });
  await client.close();
});

it('when nobody waits any more the declaration is not tried again; the next publish begins anew', async () => {
  let tries = 0;
  const client = await connect({
    adapter: fakeAdapter({
      async declare() {
        tries += 1;
        if (tries === 1) throw new Transient('away');
      },
    }),
  });
  await expect(client.publish(topic, 1, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'publish-timeout' });
  expect(tries).toBe(1);
  await expect(client.publish(topic, 2)).resolves.toMatchObject({ outcome: 'confirmed' });
  expect(tries).toBe(2);
  await client.close();
});

it('close answers who waits for a declaration', async () => {
  const adapter = fakeAdapter({ declare: () => Promise.reject(new Transient('away')) });
  const client = await connect({ adapter });
  const publishing = client.publish(topic, 1);
  const consuming = client.consume(topic, { group: 'g' }, () => undefined);
  const both = Promise.allSettled([publishing, consuming]);
  await new Promise((resolve) => setImmediate(resolve));
  await client.close();
  for (const result of await both)
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'client-closed' } });
});

it('G5: what waited for the first declaration of an ordered topic is not overtaken by what comes just after it', async () => {
  const sent: number[] = [];
  const client = await connect({
    adapter: fakeAdapter({
      async publish(batch) {
        for (const { body } of batch) sent.push(JSON.parse(Buffer.from(body).toString()) as number);
        return confirmAll(batch);
      },
    }),
  });
  const ordered = defineTopic<number>('ordered', { key: () => 'k', groups: { g: { order: 'key' } } });
  const numbers = Array.from({ length: 60 }, (_, n) => n);
  const publishing: Promise<unknown>[] = [];
  for (const n of numbers) {
    publishing.push(client.publish(ordered, n));
    await undefined;
  }
  await Promise.all(publishing);
  expect(sent).toEqual(numbers);
  await client.close();
});
