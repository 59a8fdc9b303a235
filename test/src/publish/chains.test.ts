import { expect, it } from 'vitest';
import { createChains } from '../../../src/publish/chains.ts';
import type { Pending } from '../../../src/publish/queue.ts';

const pendingOf = (id: string): Pending => ({ outgoing: { id, key: 'k' }, left: false }) as unknown as Pending;

function chainsWith() {
  const freed: string[] = [];
  const chains = createChains({
    patienceMs: 60_000,
    onFree: ({ outgoing }) => freed.push(outgoing.id),
    onLate: () => undefined,
  });
  return { chains, freed };
}

it('S16: a key is free when none of its messages is in the store, nor on its way there', () => {
  const { chains, freed } = chainsWith();
  const [first, second] = [pendingOf('1'), pendingOf('2')];
  chains.spilling('k', first);
  chains.written(first, 'row 1');
  chains.wait('k', pendingOf('3'));
  chains.spilling('k', second);
  chains.gone(['row 1']);
  expect([chains.has('k'), freed]).toEqual([true, []]);
  chains.written(second, 'row 2');
  expect([chains.has('k'), freed]).toEqual([true, []]);
  chains.gone(['row 2']);
  expect([chains.has('k'), freed]).toEqual([false, ['3']]);
  chains.close();
});

it('S16: a write that failed keeps its key no longer', () => {
  const { chains, freed } = chainsWith();
  const first = pendingOf('1');
  chains.spilling('k', first);
  chains.wait('k', pendingOf('2'));
  chains.written(first, undefined);
  expect([chains.has('k'), freed]).toEqual([false, ['2']]);
  chains.close();
});
