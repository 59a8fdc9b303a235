/** What an outbox could not send: to be looked at, let go again, or thrown away, by people and their tools. */

import type { Headers, Priority } from './message.ts';

export interface ParkedMessage {
  readonly id: string;
  readonly topic: string;
  readonly source: string;
  readonly key: string | undefined;
  readonly priority: Priority;
  readonly headers: Headers;
  readonly contentType: string;
  /** The bytes as they were to be sent. */
  readonly body: Uint8Array;
  /** The code of what stood in its way: `expired`, `unroutable`, `publish-rejected`, `message-too-large`, `topology-missing`, `bad-shape` … */
  readonly reason: string;
  /** What else was said of it. */
  readonly error: string | undefined;
  /** Publishes that failed and were tried again before it was parked. */
  readonly attempts: number;
  /** Its insert, by the database's clock; of a spilled message its publish. */
  readonly addedAt: Date;
  readonly expiresAt: Date | undefined;
  /** By the database's clock. */
  readonly parkedAt: Date;
  /** Its place, for `list({ after })`, also in another process. */
  readonly cursor: string;
}
/** A message must meet all that is given. */
export interface ParkedWhere {
  readonly reason?: string;
  /** Ids of messages. */
  readonly ids?: readonly string[];
  readonly topic?: string;
  readonly key?: string;
  /** Parked since then, or later. */
  readonly since?: Date;
  /** Parked earlier than that. */
  readonly before?: Date;
}
export interface ParkedFilter {
  readonly where?: ParkedWhere;
  /** Ends it between two pages: what was moved is moved. */
  readonly signal?: AbortSignal;
}
export interface ParkedListOptions extends ParkedFilter {
  /** The `cursor` of the last message seen: goes on behind it, whether or not that one is still there. */
  readonly after?: string;
  /** At most so many. */
  readonly limit?: number;
}

/** In all three, wrong options are a TypeError that names each. Works page by page, at most 100 messages or about 4 MiB of bodies at once. */
export interface ParkedMessages {
  /** In the order in which they were added. What is parked meanwhile in front of the place reached is left to the next call. */
  list(options?: ParkedListOptions): AsyncIterable<ParkedMessage>;
  /**
   * Puts messages back into the outbox, as they were, with their ids and the places they had, and wakes the relays. Each page
   * is one transaction: interrupted anywhere, a message is either parked or waits to be sent, never both, never neither;
   * calling again goes on. Who releases at the same time releases others.
   *
   * Order: those of a key go by their inserts among themselves, and before all later ones of the key that no relay has
   * read yet. What was sent while they were parked stays ahead of them. Delay and expiry count from `add`, as ever: what
   * has expired is parked again.
   *
   * What is parked after it began need not be among them. Where the database's reply is lost and the page is tried again,
   * what the first try had moved is not counted.
   */
  release(filter?: ParkedFilter): Promise<{ readonly released: number }>;
  /** Removes messages for good. Needs a filter, so that nothing is emptied by a slip. Pages and count are those of `release`. */
  discard(filter: ParkedFilter): Promise<{ readonly discarded: number }>;
}
