/** Deliveries and their settlements. */

import type { Headers, Incoming, Priority, Topology } from './message.ts';

export interface Delivery {
  readonly message: Incoming;
  readonly lane: Priority;
  /** Deliveries of one key are always of one shard. 0 where the group is unordered and the broker has no partitions. */
  readonly shard: number;
  /** The connection, channel, lease or assignment it came by. A settlement under an older epoch settles nothing (`stale`). */
  readonly epoch: number;
  /** The broker says (or cannot rule out) that it was delivered before and never settled. */
  readonly redelivered: boolean;
  /** It was being handled when its consumer died: it may be what killed it (S18). */
  readonly suspect: boolean;
  /** How often the broker has delivered it before, give-backs included; undefined where it does not count. Never an attempt (S17). */
  readonly deliveries?: number;
  /** Where it stands on the broker, for people: `orders/3/1207`, a stream entry id, a delivery tag with its queue. */
  readonly position: string;
  /** The adapter's own. */
  readonly handle: unknown;
}

export type Settlement =
  /** Handled, or dropped on purpose: never to be seen again by this group. */
  | { readonly kind: 'done'; readonly delivery: Delivery }
  /** Back to the group, at once, with its marks unchanged: no attempt is spent. */
  | { readonly kind: 'give-back'; readonly delivery: Delivery }
  /** Back to this group alone, not before `delayMs`, carrying `marks` instead of its old ones. */
  | { readonly kind: 'retry'; readonly delivery: Delivery; readonly delayMs: number; readonly marks: Headers }
  /** To this group's dead letters with the original bytes and headers, carrying `marks`; then gone from the group. */
  | { readonly kind: 'dead'; readonly delivery: Delivery; readonly marks: Headers };

/**
 * `settled`: done, and durable as the adapter promises. `stale`: the delivery is no longer ours, nothing was settled.
 * `unknown`: it may come again. Emulated moves publish the copy, await its confirm, then settle the original: a crash
 * in between duplicates, never loses.
 */
export type SettleOutcome = 'settled' | 'stale' | 'unknown';

export interface Subscription {
  readonly topology: Topology;
  readonly group: string;
  readonly ordered: boolean;
  /** At most this many unsettled deliveries per lane (ordered groups: per lane and shard). */
  readonly prefetch: number;
  /** A delivery that is not extended for this long may be given to somebody else, where the adapter works by leases. */
  readonly leaseMs: number;
  /** The longest one handler may run. */
  readonly handlerTimeoutMs: number;
}

/** What a source tells the core. Both calls return at once and never throw. */
export interface Receive {
  /** In delivery order per lane and shard. */
  deliver(batch: readonly Delivery[]): void;
  /** Every unsettled delivery of this epoch is lost to this source: another consumer may have it already. */
  revoked(epoch: number): void;
}

export interface Source {
  /** One outcome per settlement, in order. Never rejects for a lost connection: that is `unknown` or `stale`. */
  settle(batch: readonly Settlement[]): Promise<readonly SettleOutcome[]>;
  /**
   * Replaces the marks of a delivery that stays ours and unsettled: durable when it answers `settled`, and what whoever
   * gets the message next finds there. Without it, attempts of suspects are counted by copies (unordered groups) or by
   * `deliveries` (ordered ones). Never rejects for a lost connection.
   */
  mark?(delivery: Delivery, marks: Headers): Promise<SettleOutcome>;
  /** Renews the leases of these deliveries. Called every `leaseMs / 3` where `capabilities.leases`; one that cannot be renewed is reported by `revoked` or answers `stale` later. */
  extend(deliveries: readonly Delivery[]): Promise<void>;
  /** No further deliveries (of this lane, or at all) until `resume`; those already on their way may still arrive. */
  pause(lane?: Priority): void;
  resume(lane?: Priority): void;
  /** Ends the subscription and gives back, in order and unspent, whatever is unsettled. Idempotent. */
  stop(): Promise<void>;
}
