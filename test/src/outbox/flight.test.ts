import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createFlight, type Settled } from '../../../src/outbox/flight.ts';
import type { OutboxRow } from '../../../src/port.ts';

const row = (rowId: string, key?: string): OutboxRow => ({ rowId, key, shard: 1 }) as OutboxRow;

function flightWith() {
  const publishing = new Map<string, (kind: Settled['kind'] | undefined) => void>();
  const settled: string[][] = [];
  const failures: unknown[] = [];
  let broken = false;
  const flight = createFlight({
    chainOf: ({ key }) => key,
    publish: ({ rowId, shard }) =>
      new Promise((resolve) => {
        publishing.set(rowId, (kind) => {
          publishing.delete(rowId);
          resolve(kind === undefined ? undefined : { rowId, shard, kind });
        });
      }),
    async settle(settlements) {
      if (broken) throw new Error('the database is away');
      settled.push(settlements.map(({ rowId, kind }) => `${rowId} ${kind}`));
    },
    failed: (error) => failures.push(error),
  });
  const end = async (rowId: string, kind: Settled['kind'] | undefined = 'sent'): Promise<void> => {
    publishing.get(rowId)!(kind);
    await turn();
    await turn();
  };
  return { flight, publishing, settled, failures, end, breakStore: () => (broken = true) };
}

it('settles what is confirmed while others are still on their way', async () => {
  const { flight, settled, end } = flightWith();
  expect(flight.launch([row('1'), row('2')])).toBe(2);
  await end('2');
  expect(settled).toEqual([['2 sent']]);
  expect(flight.size).toBe(1);
});

it('does not publish a row again that is on its way', async () => {
  const { flight, publishing } = flightWith();
  flight.launch([row('1')]);
  expect(flight.launch([row('1'), row('2')])).toBe(1);
  expect([...publishing.keys()]).toEqual(['1', '2']);
});

it('what was settled while a read was under way is not published again, nor what follows its key', async () => {
  const { flight, publishing, end } = flightWith();
  flight.launch([row('1'), row('2', 'k')]);
  flight.reading();
  await end('1');
  await end('2', 'later');
  // As the database saw them before.
  expect(flight.launch([row('1'), row('2', 'k'), row('3', 'k'), row('4')])).toBe(1);
  expect([...publishing.keys()]).toEqual(['4']);
  flight.reading();
  expect(flight.launch([row('2', 'k'), row('3', 'k')])).toBe(2);
});

it('G5: rows of a key go one after the other, also over two reads', async () => {
  const { flight, publishing, settled, end } = flightWith();
  flight.launch([row('1', 'k'), row('2', 'k')]);
  expect([...publishing.keys()]).toEqual(['1']);
  expect(flight.launch([row('3', 'k'), row('4', 'other')])).toBe(1);
  await end('1');
  expect([...publishing.keys()]).toEqual(['4', '2']);
  await end('2');
  expect(settled).toEqual([['1 sent', '2 sent']]);
  flight.reading();
  expect(flight.launch([row('3', 'k')])).toBe(1);
});

it('G5: a row that fails holds back its successors', async () => {
  const { flight, publishing, settled, end } = flightWith();
  flight.launch([row('1', 'k'), row('2', 'k')]);
  await end('1', 'later');
  expect([...publishing.keys()]).toEqual([]);
  expect(settled).toEqual([['1 later']]);
  expect(flight.size).toBe(0);
});

it('when settling fails the rows may be read again', async () => {
  const { flight, failures, end, breakStore } = flightWith();
  breakStore();
  flight.launch([row('1')]);
  await end('1');
  expect(failures).toHaveLength(1);
  flight.reading();
  expect(flight.launch([row('1')])).toBe(1);
});

it('lands when nothing is on its way, or when the time is up', async () => {
  const { flight, end } = flightWith();
  flight.launch([row('1')]);
  await flight.landed(1);
  expect(flight.size).toBe(1);
  const landed = flight.landed(60_000);
  await end('1');
  await landed;
  expect(flight.size).toBe(0);
});
