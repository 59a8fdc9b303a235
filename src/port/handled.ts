/** What remembers handled messages: inboxes, in the handler's transaction, and dedupe stores, outside it. */

/** What the inbox is unique on (S12). */
export interface InboxClaim {
  readonly group: string;
  readonly topic: string;
  readonly identity: string;
}

/** Remembers what was handled, in the same transaction as the handler's effects (G4). */
export interface Inbox<Tx> {
  readonly kind: string;
  /** At most this many calls of `run` hold a transaction at once; more wait without a connection (S25). */
  readonly maxTransactions: number;
  /**
   * Opens a transaction, claims all of `claims` by one statement, calls `work` with the indexes that were not claimed
   * before (not at all if there are none) and commits. Returns those indexes.
   *
   * When `work` throws, rolls back and rejects with that very error. When `signal` aborts, `tx` throws from then on, the
   * transaction is rolled back and its connection destroyed (S24). A rejection that is not `work`'s own is the store's.
   */
  run(
    claims: readonly InboxClaim[],
    signal: AbortSignal,
    work: (tx: Tx, fresh: readonly number[]) => Promise<void>,
  ): Promise<readonly number[]>;
  /** Which of these were handled before. Reads only; used to warn before a replay. */
  seen(claims: readonly InboxClaim[]): Promise<readonly boolean[]>;
}

/** What a claimant of a message is told. */
export type DedupeClaim =
  /** Ours to handle, until `commit` or `release` with this token, or until `claimMs` have passed. */
  | { readonly state: 'new'; readonly token: string }
  /** Handled within the last `windowMs`. */
  | { readonly state: 'done' }
  /** Somebody's claim has neither ended nor run out. */
  | { readonly state: 'busy' };

/**
 * Remembers handled messages for a while, outside the handler's transaction (G4): a crash between the effect and `commit`
 * repeats it. Where that matters, use an inbox.
 *
 * Stores take `windowMs`, how long a handled message is remembered, from its commit; and `claimMs`, how long the claim of
 * a consumer that died keeps others out. Both count on the store's clock, never on a consumer's. Claims are renewed while
 * their messages are handled, where the store can (`renew` and `claimMs`); elsewhere one that outlasts `claimMs` may be
 * taken over while it is still being handled, so that the message is handled twice.
 */
export interface DedupeStore {
  /** How long a claim lasts, from `claim` or its last renewal. Without it nothing is renewed. */
  readonly claimMs?: number;
  /** One atomic step: of any number of claimants at once, in any processes, one gets `new`. */
  claim(key: string): Promise<DedupeClaim>;
  /**
   * Handled. Also counts when the claim has run out, as long as nobody has taken over; does nothing under a token that
   * somebody else has superseded. Idempotent.
   */
  commit(key: string, token: string): Promise<void>;
  /** Not handled: free at once for the next claimant. Does nothing unless the claim is still this token's. */
  release(key: string, token: string): Promise<void>;
  /**
   * Keeps others out for `claimMs` from now. One answer per claim, whose keys are distinct: false if it is not this
   * token's any more, be it committed or taken over. One that has run out, and that nobody has taken over, is renewed.
   */
  renew?(claims: readonly DedupeHold[]): Promise<readonly boolean[]>;
}
export interface DedupeHold {
  readonly key: string;
  readonly token: string;
}
