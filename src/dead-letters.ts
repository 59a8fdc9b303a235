/** A group's dead letters: list, count, replay, discard. What each does is in a file of its own in `dead-letters/`. */

import { type CountedBy, count, countBy } from './dead-letters/count.ts';
import { discard } from './dead-letters/discard.ts';
import type { LetterFilter } from './dead-letters/filter.ts';
import type { Letter } from './dead-letters/letter.ts';
import { type ListOptions, list } from './dead-letters/list.ts';
import { type Released, type ReleaseOptions, release, type StandingKey, standingKeys } from './dead-letters/release.ts';
import { type Replayed, type ReplayOptions, replay } from './dead-letters/replay.ts';
import type { LettersContext } from './dead-letters/walk.ts';

export type { CanaryOptions, CanarySeen, Halted } from './dead-letters/canary.ts';
export type { CountedBy } from './dead-letters/count.ts';
export type { LetterEdit } from './dead-letters/edit.ts';
export type { LetterFilter, LetterWhere } from './dead-letters/filter.ts';
export type { Letter } from './dead-letters/letter.ts';
export type { ListOptions } from './dead-letters/list.ts';
export type { Released, ReleaseOptions, StandingKey } from './dead-letters/release.ts';
export type { Replayed, ReplayOptions } from './dead-letters/replay.ts';

export interface DeadLetters<I = unknown> {
  /** Oldest first. On RabbitMQ the letters are held while you iterate, and nobody else can list meanwhile (`busy`), unless there is a `limit`. */
  list(options?: ListOptions): AsyncIterable<Letter>;
  count(filter?: LetterFilter): Promise<number>;
  /** How many of each: `{ failed: 12, timeout: 3 }`. What has no such value is counted as `''`. */
  countBy(by: CountedBy, filter?: LetterFilter): Promise<Readonly<Record<string, number>>>;
  /** Sends letters to their own group again, with id, key, headers and bytes as they were and attempts from 0. Interrupted anywhere, none is lost. */
  replay(options?: ReplayOptions<I>): Promise<Replayed>;
  /** Removes letters for good. Needs a filter, so that nothing is emptied by a slip. */
  discard(filter: LetterFilter): Promise<{ readonly discarded: number }>;
  /** Keys that stand still (`onExhausted: 'halt-key'`), the oldest first. */
  halted(options: Pick<ReleaseOptions, 'halts'>): Promise<readonly StandingKey[]>;
  /**
   * Has the messages of a key that stands still handled again, in their order, new ones behind them, and waits until the
   * key is free. Interrupted anywhere, here or in a consumer, the next call goes on.
   */
  release(key: string, options: ReleaseOptions): Promise<Released>;
}

export function deadLettersOf(context: LettersContext): DeadLetters {
  return {
    list: (options) => list(context, options),
    count: (filter) => count(context, filter),
    countBy: (by, filter) => countBy(context, by, filter),
    replay: (options) => replay(context, options),
    discard: (filter) => discard(context, filter),
    halted: ({ halts }) => standingKeys(context, halts),
    release: (key, options) => release(context, key, options),
  };
}
