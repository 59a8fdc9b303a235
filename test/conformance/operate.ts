import type { DeadLetters, Letter, LetterEdit } from '../../src/dead-letters.ts';
import type { Order } from './ledger.ts';

/** What an operator does with a group's dead letters, as plain data. */
export interface Operation {
  readonly does: 'replay' | 'edit' | 'canary' | 'discard';
  /** Of the run, in epoch milliseconds. */
  readonly startedAt: number;
}

/** Letters of messages below this are discarded. */
export const DISCARD_BELOW = 6;
const EDITED = 1_000;

/** What an edit makes of an order, and the way back. */
export const editedNumber = (n: number): number => n + EDITED;
export const originalNumber = (n: number): number => n % EDITED;

export async function operate(letters: DeadLetters<Order>, { does, startedAt }: Operation): Promise<void> {
  const run = { startedAt: new Date(startedAt) };
  if (does === 'replay') await letters.replay(run);
  else if (does === 'edit') await letters.replay({ ...run, edit });
  else if (does === 'canary') await letters.replay({ ...run, canary: { count: 3, watchMs: 100 } });
  else {
    const ids = Array.from({ length: DISCARD_BELOW }, (_, n) => `m-${n}`);
    await letters.discard({ where: { ids } });
  }
}

function edit({ body }: Letter): LetterEdit<Order> {
  const { n } = JSON.parse(Buffer.from(body).toString()) as Order;
  return { payload: { n: editedNumber(n) } };
}
