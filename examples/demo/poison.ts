/** Records of a producer that knows nothing of holdfast and its schema, put on the broker by its own client. */

import type { LedgerFile } from './ledger-file.ts';
import type { RawBroker } from './raw/raw-broker.ts';

export const POISONED = 20;

/** Every other one is JSON of another shape; the rest is no JSON at all. */
function bodyOf(number: number): Buffer {
  return Buffer.from(number % 2 === 0 ? JSON.stringify({ flight: `UA ${number}`, late: 'very' }) : `UA ${number};late`);
}

export async function poison(broker: RawBroker, ledger: LedgerFile): Promise<void> {
  for (let number = 0; number < POISONED; number += 1) {
    const id = `raw-${number}`;
    await broker.add({ id, key: `X${String(number).padStart(2, '0')}`, body: bodyOf(number) });
    ledger.write({ event: 'poisoned', id });
  }
}
