/** What moves: messages, and what their topics need on the broker. */

/** A lane. Lanes exist only on topics that declare `priority`; elsewhere everything is `'normal'`. */
export type Priority = 'high' | 'normal' | 'low';

/** Text by name. User headers, or the core's own marks; the two never share a map. */
export type Headers = Readonly<Record<string, string>>;

/** What a topic needs on the broker. A function of the topic alone, never of a consumer's options (S1). */
export interface Topology {
  readonly topic: string;
  /** Every group known to the caller. Declaring only adds: a broker may hold more (S4). */
  readonly groups: readonly GroupTopology[];
  /** Parallelism of ordered groups, and of every group where partitions are native. */
  readonly partitions: number;
  /** Whether the topic has the lanes high, normal and low. */
  readonly lanes: boolean;
}
export interface GroupTopology {
  readonly name: string;
  readonly ordered: boolean;
  /** Where a group that does not exist yet begins (S5). A number is a time in epoch milliseconds. @default 'earliest' */
  readonly from?: 'earliest' | 'latest' | number;
}

/** One message on its way to the broker. */
export interface Outgoing {
  readonly topology: Topology;
  /** Identifies the message over every resend, retry copy and replay. */
  readonly id: string;
  /** The publishing service. */
  readonly source: string;
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly key: string | undefined;
  /** Set for keyed messages: `partitionOf(key, topology.partitions)`, Kafka's murmur2 on every broker. */
  readonly partition: number | undefined;
  readonly lane: Priority;
  readonly dedupeKey: string | undefined;
  /** The user's headers, already checked. */
  readonly headers: Headers;
  /** Epoch milliseconds. */
  readonly publishedAt: number;
  /** Epoch milliseconds; carried on the wire, enforced by the core, never by broker TTL (S15). */
  readonly expiresAt: number | undefined;
  /** Not delivered before this many milliseconds have passed on the broker's clock. 0 is at once. */
  readonly delayMs: number;
}

export type PublishOutcome =
  /** Stored as durably as the adapter promises. `position` is where, if the broker says. */
  | { readonly kind: 'confirmed'; readonly position?: string }
  /** The broker has no group for it: nobody would ever receive it. */
  | { readonly kind: 'unroutable' }
  /** Surely not stored. Sent again only where `isTransient(error)`. */
  | { readonly kind: 'rejected'; readonly error: unknown }
  /** May or may not be stored: connection lost, timeout, nack, partial fan-out. Sent again with the same id. */
  | { readonly kind: 'unknown'; readonly error: unknown };

/** A message as it came off the wire. What a foreign producer did not say is undefined. */
export interface Incoming {
  readonly id: string | undefined;
  readonly source: string | undefined;
  readonly body: Uint8Array;
  readonly contentType: string | undefined;
  readonly key: string | undefined;
  readonly dedupeKey: string | undefined;
  /** User headers alone, without holdfast's own and without the broker's bookkeeping. */
  readonly headers: Headers;
  /** The core's marks on an internal copy (attempts, failure); empty on a first delivery. Written and read by the core alone. */
  readonly marks: Headers;
  readonly publishedAt: number | undefined;
  readonly expiresAt: number | undefined;
}
