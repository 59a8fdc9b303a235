/** The outbox: what is written to it, what its relays read, and what is spilled into it. */

import type { Headers, Priority } from './message.ts';
import type { ParkedMessages } from './parked.ts';

/** A message as the outbox stores it: wire bytes, attributes and its topic's shape (S32). */
export interface OutboxEntry {
  /** `partitionOf(key ?? id, 64)`: the relay's unit of ownership. Messages of one key share one. */
  readonly shard: number;
  /** Canonical JSON of an `OutboxShape`; the store keeps each distinct one once. */
  readonly shape: string;
  readonly topic: string;
  readonly id: string;
  readonly key: string | undefined;
  readonly dedupeKey: string | undefined;
  readonly lane: Priority;
  readonly headers: Headers;
  readonly contentType: string;
  readonly body: Uint8Array;
  /** Counted by the database's clock from the insert. */
  readonly delayMs: number;
  readonly expiresInMs: number | undefined;
}
/** The topic's topology as its publisher knew it; partitions undefined where the adapter's default is meant. */
export interface OutboxShape {
  readonly topic: string;
  readonly groups: readonly { readonly name: string; readonly ordered: boolean }[];
  readonly partitions: number | undefined;
  readonly lanes: boolean;
  /** What becomes of a row that expired before it was sent: parked, or dropped (S15). @default parked */
  readonly onExpired?: 'drop';
}

/** Turns a payload into wire form. Topics implement it, so that a store can take a topic without importing the core. */
export interface EntrySource<I> {
  /** Validates, encodes and sizes; throws before anything is stored. */
  toEntry(payload: I, options: OutboxAddOptions | undefined): Promise<OutboxEntry>;
}
export interface OutboxAddOptions {
  readonly id?: string;
  readonly key?: string;
  readonly dedupeKey?: string;
  readonly priority?: Priority;
  readonly delayMs?: number;
  readonly expiresInMs?: number;
  readonly headers?: Headers;
}

export interface OutboxRow extends OutboxEntry {
  /** Ascending in insert order within a shard. */
  readonly rowId: string;
  readonly source: string;
  /** Failed publishes so far. */
  readonly attempts: number;
  /** Epoch milliseconds by the database's clock. */
  readonly addedAt: number;
  /** The database's clock when the row was read: by it rows expire. @default the relay takes its host's */
  readonly readAt?: number;
  /** Of a spilled message: when it was published, in epoch milliseconds by its publisher's clock. Its expiry counts from then. */
  readonly publishedAt?: number;
}
export interface ShardLease {
  readonly shard: number;
  /** Fencing token: raised whenever the shard changes hands. */
  readonly epoch: number;
}
export interface RowSettlement {
  readonly rowId: string;
  /** `sent`: confirmed, delete it. `park`: keep it visible, out of the relay's way. `later`: not before `delayMs`. */
  readonly kind: 'sent' | 'park' | 'later';
  readonly reason?: string;
  readonly delayMs?: number;
}

/** The relay's side of an outbox. All times are the database's. */
export interface OutboxRelayStore {
  /** Number of shards: 64. */
  readonly shards: number;
  /**
   * Renews this owner's leases, then takes free or expired shards until it holds its fair share among live owners, and
   * hands over what is above it. Returns all that are held now. One call is also the owner's heartbeat.
   */
  lease(owner: string, ttlMs: number): Promise<readonly ShardLease[]>;
  release(owner: string): Promise<void>;
  /** Rows of these shards that are due, by row id, at most `limit`; never one behind an earlier, not yet due or failed row of its key. Takes no locks. */
  read(leases: readonly ShardLease[], limit: number): Promise<readonly OutboxRow[]>;
  /** Fenced: rows of a shard whose epoch is no longer ours are left alone. Returns the row ids that were settled. */
  settle(
    leases: readonly ShardLease[],
    rows: readonly (RowSettlement & { readonly shard: number })[],
  ): Promise<readonly string[]>;
  /** Whether any due row exists, by one cheap probe. */
  pending(): Promise<{ readonly due: boolean; readonly total: number; readonly oldestAgeMs: number | undefined }>;
  /** Calls back (conflated) after a commit of this process added rows, and where the database can, of other processes. Returns the unsubscriber. */
  onWake(listener: () => void): () => void;
}

/** Writes messages inside the caller's transaction; the relay publishes them after it committed. */
export interface Outbox<Tx> {
  readonly source: string;
  /** Validates and encodes, then inserts one row by `tx`. Nothing is published if `tx` does not commit. */
  add<I>(tx: Tx, topic: EntrySource<I>, payload: I, options?: OutboxAddOptions): Promise<{ readonly id: string }>;
  /** The same for many, by one insert. */
  addAll<I>(
    tx: Tx,
    topic: EntrySource<I>,
    payloads: readonly I[],
    optionsFor?: (payload: I, index: number) => OutboxAddOptions,
  ): Promise<readonly { readonly id: string }[]>;
  /** begin … commit, then wakes the relay. Rolls back when `work` throws. */
  transaction<R>(work: (tx: Tx) => Promise<R>): Promise<R>;
  readonly relay: OutboxRelayStore;
  /** What its relays could not send. */
  readonly parked: ParkedMessages;
}

/** A message that was accepted while the broker was away (S16): a row of the outbox with times and a source of its own. */
export interface SpillEntry extends OutboxEntry {
  readonly source: string;
  /** Epoch milliseconds by the publisher's clock. */
  readonly publishedAt: number;
  /** What it counts for in `SpillState.bytes`. */
  readonly bytes: number;
}
export interface SpillState {
  /** Spilled messages that were neither sent nor parked, whoever spilled them. */
  readonly rows: number;
  readonly bytes: number;
  /** Since the oldest of them was stored, by the database's clock; undefined where there is none. */
  readonly oldestAgeMs: number | undefined;
}
/** The publisher's side of an outbox: where messages wait while the broker is away. `relay` sends them like all others. */
export interface SpillStore {
  /**
   * Stores all of them, in this order, by one transaction of its own, or none; durable when it fulfils, with one row id
   * each. A rejection with `outcome: 'unknown'` means that they may be stored all the same.
   */
  add(entries: readonly SpillEntry[]): Promise<readonly string[]>;
  /** Which of these rows still wait to be sent. */
  left(rows: readonly { readonly rowId: string; readonly shard: number }[]): Promise<readonly string[]>;
  /** Cheap where there is none. */
  state(): Promise<SpillState>;
}
