import { expect, it } from 'vitest';
import { connect, defineTopic } from '../../../src/index.ts';
import { internalsOf } from '../../../src/internals.ts';
import { publishRow } from '../../../src/outbox/publish-row.ts';
import type { OutboxRow, PublishOutcome } from '../../../src/port.ts';
import { fakeAdapter, Transient } from '../fake-adapter.ts';

const topic = defineTopic<number>('orders', { groups: ['g'] });

async function rowOf(own: Partial<OutboxRow> = {}): Promise<OutboxRow> {
  const entry = await topic.toEntry(1, { id: 'o-1' });
  return { ...entry, rowId: '7', source: 'shop', attempts: 0, addedAt: Date.now(), ...own };
}
/** What becomes of a row whose publish ends like this. */
async function settledBy(
  publish: () => Promise<readonly PublishOutcome[]>,
  own?: Partial<OutboxRow>,
  signal?: AbortSignal,
) {
  await using client = await connect({ adapter: fakeAdapter({ publish }) });
  return await publishRow(await rowOf(own), internalsOf(client), 20, Date.now(), signal);
}
const answering = (outcome: PublishOutcome) => async () => [outcome];

it('a row that trying again cannot help is parked with the reason', async () => {
  expect(await settledBy(answering({ kind: 'unroutable' }))).toMatchObject({
    rowId: '7',
    kind: 'park',
    reason: expect.stringMatching(/^unroutable: /),
  });
  const refused = await settledBy(answering({ kind: 'rejected', error: new Error('x'.repeat(5_000)) }));
  expect(refused).toMatchObject({ kind: 'park', reason: expect.stringMatching(/^publish-rejected: /) });
  expect(refused!.reason!.length).toBeLessThanOrEqual(500);
  expect(await settledBy(answering({ kind: 'confirmed' }), { shape: '{"topic":1}' })).toMatchObject({
    kind: 'park',
    reason: expect.stringMatching(/^bad-shape/),
  });
});

it('any other is tried later, each time after a longer pause, up to two seconds', async () => {
  const lost = answering({ kind: 'unknown', error: new Transient('the connection broke') });
  const pauses: (number | undefined)[] = [];
  for (const attempts of [0, 1, 4, 5, 1_000]) {
    const settled = await settledBy(lost, { attempts });
    expect(settled).toMatchObject({ kind: 'later', reason: 'publish-unknown' });
    pauses.push(settled!.delayMs);
  }
  expect(pauses).toEqual([100, 200, 1_600, 2_000, 2_000]);
});

it('one that its relay has given up stays as it is', async () => {
  const stop = new AbortController();
  const publish = (): Promise<never> => {
    stop.abort();
    return new Promise(() => undefined);
  };
  expect(await settledBy(publish, {}, stop.signal)).toBeUndefined();
});
