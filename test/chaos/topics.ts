/** What is sent, and what is done on purpose to fail. */

import { createHash } from 'node:crypto';
import { defineTopic, type Topic } from 'holdfast';

export interface Item {
  readonly key: string;
  readonly seq: number;
  /** `checkOf` its id: bytes that were changed, or another message's, show. */
  readonly check: string;
}
export interface Transfer extends Item {
  readonly from: number;
  readonly to: number;
  readonly amount: number;
}

export const PARTITIONS = 4;
export const ACCOUNTS = 50;
export const OPENING_BALANCE = 1_000_000;

/** `pool` in whatever order, `line` in each key's. */
export const items: Topic<Item> = defineTopic<Item>('chaos.items', {
  key: (item) => item.key,
  partitions: PARTITIONS,
  groups: { pool: {}, line: { order: 'key' } },
});

/** Money from one account to another; `bank` books it. */
export const transfers: Topic<Transfer> = defineTopic<Transfer>('chaos.transfers', {
  key: (transfer) => transfer.key,
  partitions: PARTITIONS,
  groups: { bank: {} },
});

/** The same, to a producer that was there before anybody consumed them. */
export const unheardTransfers: Topic<Transfer> = defineTopic<Transfer>(transfers.name, {
  key: (transfer) => transfer.key,
  partitions: PARTITIONS,
});

export const groups = ['pool', 'line', 'bank'] as const;
export type GroupName = (typeof groups)[number];
export const topicOf = (group: GroupName): string => (group === 'bank' ? transfers.name : items.name);

export const checkOf = (id: string): string => createHash('sha256').update(id).digest('hex');

/** What the handlers of a group do with a message by design. */
export function designOf(group: GroupName, seq: number): 'well' | 'fails-twice' | 'fails-always' | 'refused' {
  if (group === 'pool') return seq % 101 === 7 ? 'fails-always' : seq % 23 === 5 ? 'fails-twice' : 'well';
  if (group === 'line') return seq % 97 === 50 ? 'refused' : seq % 29 === 3 ? 'fails-twice' : 'well';
  return 'well';
}
