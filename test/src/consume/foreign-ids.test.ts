import { describe, expect, it } from 'vitest';
import { defineTopic, memoryDedupe } from '../../../src/index.ts';
import type { Delivery } from '../../../src/port.ts';
import { until } from '../../conformance/until.ts';
import { deliveryOf, fakeInbox, inHand } from '../fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });

/** As a producer sends it that knows nothing of us. */
const foreign = (n: number): Delivery =>
  deliveryOf(n, { message: { id: undefined, source: undefined, contentType: undefined } });

describe('S26: a message without an id', () => {
  it('is handled at least once where nobody needs to tell it from others', async () => {
    const { client, settled, deliver } = await inHand();
    let calls = 0;
    await client.consume(topic, { group: 'g' }, () => {
      calls += 1;
    });
    deliver(foreign(1), foreign(2));
    await until('both are settled', () => settled.length === 2);
    expect([calls, ...settled.map(({ kind }) => kind)]).toEqual([2, 'done', 'done']);
    await client.close();
  });

  it.each([
    ['an inbox', { inbox: fakeInbox() }],
    ['a dedupe store', { dedupe: memoryDedupe() }],
  ])('is a dead letter as no-id, and never handled, where %s would have to know it', async (_, options) => {
    const { client, settled, deliver } = await inHand();
    let calls = 0;
    await client.consume(topic, { group: 'g', ...options }, () => {
      calls += 1;
    });
    deliver(foreign(1));
    await until('it is settled', () => settled.length === 1);
    expect(calls).toBe(0);
    expect(settled[0]).toMatchObject({ kind: 'dead', marks: { reason: 'no-id', attempts: '0' } });
    await client.close();
  });

  it.each([
    ['an inbox', { inbox: fakeInbox() }],
    ['a dedupe store', { dedupe: memoryDedupe() }],
  ])('is known to %s by its place, where a broker names each message for good', async (_, options) => {
    const { client, settled, deliver } = await inHand({ stablePositions: true });
    let calls = 0;
    await client.consume(topic, { group: 'g', ...options }, () => {
      calls += 1;
    });
    deliver(foreign(1));
    await until('it is settled', () => settled.length === 1);
    deliver(foreign(1), foreign(2));
    await until('all are settled', () => settled.length === 3);
    expect([calls, ...settled.map(({ kind }) => kind)]).toEqual([2, 'done', 'done', 'done']);
    await client.close();
  });
});
