import { connect, defineTopic } from 'holdfast';
import { expect, it } from 'vitest';
import type { PublishOutcome } from '../../../src/port.ts';
import { fakeAdapter } from '../fake-adapter.ts';

it('S9: a second definition with an ordered group keeps keys apart in flight from then on', async () => {
  const calls: { readonly ids: readonly string[]; readonly confirm: () => void }[] = [];
  const adapter = fakeAdapter({
    publish: (batch) =>
      new Promise<readonly PublishOutcome[]>((resolve) => {
        calls.push({
          ids: batch.map(({ id }) => id),
          confirm: () => resolve(batch.map(() => ({ kind: 'confirmed' }))),
        });
      }),
  });
  const plain = defineTopic<string>('two.definitions', { key: () => 'k', groups: { billing: {} } });
  const ordered = defineTopic<string>('two.definitions', {
    key: () => 'k',
    groups: { billing: {}, board: { order: 'key' } },
  });
  await using client = await connect({ adapter });

  const first = client.publish(plain, 'x', { id: '0' });
  await expect.poll(() => calls.length).toBe(1);
  calls[0]!.confirm();
  await first;
  // Declares the second definition.
  const second = client.publish(ordered, 'x', { id: '1' });
  await expect.poll(() => calls.length).toBe(2);
  calls[1]!.confirm();
  await second;

  const both = [client.publish(ordered, 'x', { id: '2' }), client.publish(plain, 'x', { id: '3' })];
  await expect.poll(() => calls.length).toBe(3);
  expect(calls[2]!.ids).toEqual(['2']);
  calls[2]!.confirm();
  await expect.poll(() => calls.length).toBe(4);
  expect(calls[3]!.ids).toEqual(['3']);
  calls[3]!.confirm();
  await Promise.all(both);
});

it('two definitions that differ in the order of a group are refused, whether they publish or consume', async () => {
  const plain = defineTopic<string>('two.orders', { key: () => 'k', groups: ['board'] });
  const ordered = defineTopic<string>('two.orders', { key: () => 'k', groups: { board: { order: 'key' } } });
  const conflict = { code: 'topology-conflict', message: expect.stringMatching(/two\.orders.*board/) };
  for (const [first, second] of [
    [plain, ordered],
    [ordered, plain],
  ] as const) {
    await using client = await connect({ adapter: fakeAdapter() });
    await client.publish(first, 'x');
    await expect(client.publish(second, 'x')).rejects.toMatchObject(conflict);
    await expect(client.consume(second, { group: 'board' }, () => undefined)).rejects.toMatchObject(conflict);
  }
});
