/** The messages of a case: what each is for, and what must have become of it in the end. */

import { defineTopic } from '../../src/define-topic.ts';
import type { Topic } from '../../src/topic.ts';

export interface Payload {
  readonly n: number;
  readonly key: string;
  /** It took the place of a dead letter. */
  readonly edited?: true;
}

export const workloads = ['main', 'halt', 'dedupe', 'delay'] as const;
/**
 * `main`: an unordered group with an inbox, retries, dead letters and an operator who discards, edits and replays them;
 * beside it an ordered group. `halt`: keys that stand still and are released. `dedupe`: a dedupe store.
 * `delay`: messages that are published with a delay, longer than one rung of a broker's ladder.
 */
export type Workload = (typeof workloads)[number];

/** Published, from 0 on. */
export const COUNT = 12;
export const DELAY_MS = 600;
/** Put into an outbox whose transaction is rolled back: nobody may ever see it. */
export const ROLLED_BACK = 99;
/** The halted key's first message. */
const HALTS = 1;

export const idOf = (n: number): string => `m-${n}`;
export const numberOf = (id: string): number => Number(id.slice(2));
export const payloadOf = (n: number): Payload => ({ n, key: `k${n % 3}` });

export type Fate =
  /** Handled at once. */
  | 'plain'
  /** Its first call fails. */
  | 'retry'
  /** A dead letter until the handler is mended; then replayed. */
  | 'replayed'
  /** A dead letter until it is edited. */
  | 'edited'
  /** A dead letter that the operator discards. */
  | 'discarded'
  /** A dead letter that stays one. */
  | 'dead'
  /** Cannot be handled until the handler is mended: its key stands still. */
  | 'halted';

const MAIN: readonly Fate[] = ['plain', 'retry', 'replayed', 'plain', 'edited', 'discarded'];

export function fateOf(group: string, n: number): Fate {
  switch (group) {
    case 'once':
      return MAIN[n % MAIN.length]!;
    case 'board':
      return n === 5 ? 'dead' : n % 6 === 1 ? 'retry' : 'plain';
    case 'stop':
      return n === HALTS ? 'halted' : 'plain';
    default:
      return n % 3 === 1 ? 'retry' : 'plain';
  }
}
export const numbers: readonly number[] = Array.from({ length: COUNT }, (_, n) => n);
export const having = (group: string, ...fates: readonly Fate[]): readonly number[] =>
  numbers.filter((n) => fates.includes(fateOf(group, n)));
export const haltedKey: string = payloadOf(HALTS).key;
/** What waits behind the message that halted its key, itself included. */
export const parked: readonly number[] = numbers.filter((n) => payloadOf(n).key === haltedKey && n >= HALTS);

export const groupsOf: Readonly<Record<Workload, readonly string[]>> = {
  main: ['once', 'board'],
  halt: ['stop'],
  dedupe: ['near'],
  delay: ['late'],
};
export const isOrdered = (group: string): boolean => group === 'board' || group === 'stop';

export function topicOf(name: string, workload: Workload): Topic<Payload> {
  return defineTopic<Payload>(name, {
    key: ({ key }) => key,
    partitions: 2,
    groups: Object.fromEntries(
      groupsOf[workload].map((group) => [group, isOrdered(group) ? { order: 'key' as const } : {}]),
    ),
  });
}
