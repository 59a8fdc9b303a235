/** A group's dead letters. */

import type { SettleOutcome } from './consume.ts';
import type { Headers, Incoming, Outgoing, Priority } from './message.ts';

/** One dead letter as stored. `handle` is valid while the scan that yielded it is open. */
export interface StoredLetter {
  /** Names this death: a message that is replayed and dies again is another letter. */
  readonly letterId: string;
  /** Where it stands among the group's letters, as text that compares. The same in every scan, and never given to another letter. */
  readonly place: string;
  readonly message: Incoming;
  readonly lane: Priority;
  /** Epoch milliseconds at which it was dead-lettered, if the broker knows. */
  readonly deadAt: number | undefined;
  readonly handle: unknown;
}
/** What takes a letter's place in its group: an edited message, with an id of its own. */
export interface Replacement {
  readonly letter: StoredLetter;
  /** Its lane is the letter's. Without a `partition` it belongs where the letter came from. */
  readonly message: Outgoing;
  readonly marks: Headers;
}
export interface DeadLetterStore {
  /** Whether scans yield letters by ascending `place`; else only roughly, oldest first. */
  readonly sorted: boolean;
  /**
   * Walks the group's dead letters, oldest first, in pages. Leaving the loop (also by `break` or a throw) puts back all
   * that was neither replayed nor discarded. At most one scan at a time where the broker needs a lock: the second throws.
   * Letters that come in while it walks are left to the next scan.
   */
  scan(options: {
    readonly pageSize: number;
    readonly signal: AbortSignal | undefined;
    /** Letters up to this place are not wanted, and may be left out. */
    readonly after?: string | undefined;
  }): AsyncIterable<readonly StoredLetter[]>;
  /** Publishes each to its own group alone, with id, key, headers and bytes as they were and `marks` as given; then removes it. */
  replay(letters: readonly StoredLetter[], marks: Headers): Promise<readonly SettleOutcome[]>;
  /** Publishes each message to the letter's group alone, past publish-side dedupe; then removes the letter. */
  replace(replacements: readonly Replacement[]): Promise<readonly SettleOutcome[]>;
  discard(letters: readonly StoredLetter[]): Promise<readonly SettleOutcome[]>;
  /** Exact number of letters, or undefined where the broker cannot tell. */
  count(): Promise<number | undefined>;
}
