/**
 * The port: all that an adapter knows of the core. Types only.
 *
 * An adapter moves bytes in batches and settles deliveries. Every policy (validation, retry, breaker, dedupe, order
 * within a process, lane weights, what a dead letter says) lives in the core, once.
 */

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

/** Unknown is undefined, never 0 (S30). */
export interface Backlog {
  readonly ready: number | undefined;
  readonly inFlight: number | undefined;
  readonly delayed: number | undefined;
  readonly dead: number | undefined;
  readonly oldestAgeMs: number | undefined;
  /** Whether every defined number is exact rather than an estimate. */
  readonly exact: boolean;
}

export interface AdapterHealth {
  readonly connected: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail?: string }[];
}

export type Support = 'native' | 'emulated' | 'none';

/** One value that drives start-up checks, the conformance suite and the README's table. */
export interface Capabilities {
  /** What a confirm means: in memory, written and synced to disk, or replicated to a majority. */
  readonly durability: 'memory' | 'disk' | 'replicated';
  /** Several processes may share it. */
  readonly multiProcess: boolean;
  readonly order: Support;
  readonly priority: Support;
  readonly delayedPublish: Support;
  readonly delayedRetry: Support;
  /** How late a delay of `ms` may end beside load: rungs round, exact timers do not. */
  readonly delayPrecision: 'exact' | 'rungs';
  readonly deadLetters: Support;
  /** A resend of the same id within a window is stored once. */
  readonly publishDedupe: 'none' | 'window';
  /** Retry, dead letter and replay are one atomic step rather than copy, confirm, settle. */
  readonly atomicMoves: boolean;
  /** Messages published before a group existed can be read by it. */
  readonly history: boolean;
  /** Publishing where no group exists is refused as unroutable. */
  readonly unroutable: boolean;
  /** Deliveries are leased and need `extend`. */
  readonly leases: boolean;
  /** The broker takes back a delivery that is unsettled for this long. @default it does not */
  readonly consumerTimeoutMs?: number;
  /** Fields of `Backlog` that are numbers. */
  readonly backlog: readonly ('ready' | 'inFlight' | 'delayed' | 'dead' | 'oldestAgeMs')[];
  /** Partitions of a topic that does not say. */
  readonly defaultPartitions: number;
  /** `Delivery.position` names a message for good, so it can stand in for the id that a foreign producer did not set (S26). @default false */
  readonly stablePositions?: boolean;
  /** Sources have `mark`, so that calls that end their process are counted in ordered groups too (S18). @default false */
  readonly marks?: boolean;
  /** Handler calls that a message which kills its process gets before the first one is counted (S18). @default 1 */
  readonly uncountedCrashes?: number;
  /** Largest body that the broker takes as configured by default. */
  readonly maxBodyBytes: number;
  readonly flow: {
    /** Most messages and bytes of one `publish` call. */
    readonly batchMessages: number;
    readonly batchBytes: number;
    /** Most `publish` calls in flight per topic. */
    readonly window: number;
    /**
     * On topics with an ordered group, what may be in flight only once (S9): a key, or a partition with all its keys. With
     * `partition`, what a batch holds of one partition is stored in order, and from the first that is refused on nothing
     * of it is.
     */
    readonly exclusive: 'key' | 'partition';
  };
}

export interface AdapterHooks {
  /** Unique to this client in this process. */
  readonly instance: string;
  /** Shown to the broker where it has a field for that. */
  readonly clientName: string;
  /** `create` what is missing; `verify` that it is there; `none`: trust. */
  readonly declare: 'create' | 'verify' | 'none';
  /** Observation only. Details never hold secrets or payloads. */
  emit(event: AdapterEvent): void;
  /** Test runs kill the process here (S37); undefined in production. */
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
}
export type AdapterEvent =
  | { readonly type: 'connected' | 'disconnected' | 'blocked' | 'unblocked'; readonly detail?: string }
  | { readonly type: 'warning'; readonly code: string; readonly detail: string };

export interface BrokerAdapter {
  readonly name: string;
  readonly capabilities: Capabilities;
  /** Opens connections; afterwards they are kept and restored by the adapter until `close`. Rejects if the broker cannot be reached. */
  connect(hooks: AdapterHooks): Promise<void>;
  /** Idempotent. Throws on an existing object that is incompatible. Remembered, and declared again after a reconnect. */
  declare(topology: Topology): Promise<void>;
  /** One outcome per message, in order, by `deadline` (epoch milliseconds). Every topology was declared before. */
  publish(
    batch: readonly Outgoing[],
    limit: { readonly deadline: number; readonly signal: AbortSignal },
  ): Promise<readonly PublishOutcome[]>;
  subscribe(subscription: Subscription, receive: Receive): Promise<Source>;
  deadLetters(topology: Topology, group: string): DeadLetterStore;
  backlog(topology: Topology, group: string): Promise<Backlog>;
  health(): Promise<AdapterHealth>;
  /** Whether trying again may help: a lost connection, an overloaded broker. Not: a refused login, an illegal name. */
  isTransient(error: unknown): boolean;
  close(): Promise<void>;
}

/** What an adapter may throw beside its client's own errors: the core turns it into a HoldfastError with this code. */
export interface AdapterError {
  readonly adapterCode:
    | 'missing-peer'
    | 'broker-unreachable'
    | 'access-refused'
    | 'topology-conflict'
    | 'topology-missing'
    | 'invalid-option'
    | 'message-too-large'
    | 'unsupported'
    | 'busy';
  readonly message: string;
  readonly cause?: unknown;
}

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

/** A key of an ordered group; a foreign one that no database could hold, by its hash. */
export interface HaltedKey {
  readonly group: string;
  readonly topic: string;
  readonly key: string;
}
/** What a store knows of a key that stands still. */
export interface Halt {
  readonly key: string;
  /** Epoch milliseconds by the store's clock. */
  readonly haltedAt: number;
  /** Its messages are handled again, one after the other. */
  readonly releasing: boolean;
  /** Messages that wait. */
  readonly parked: number;
}

/**
 * Keys that stand still (S27), and the order of the messages that wait for each. Messages are known by short names that
 * the core makes of their identities. Each call but `halted`, `parked` and `list` is one atomic and durable step, which
 * no other about the same key overlaps; each may be repeated.
 */
export interface HaltStore {
  /** Which of these keys stand still. Asked before each message is handled, for many at once. */
  halted(of: Omit<HaltedKey, 'key'>, keys: readonly string[]): Promise<readonly boolean[]>;
  /** The key stands still from now on, with this message in its place among those that wait, else as the last. Ends a release. */
  halt(key: HaltedKey, message: string, token: string): Promise<void>;
  /**
   * `free`: the key does not stand still. `next`: it is being released, and this is the first that waits. `parked`: it
   * waits: in its place, or now as the last.
   */
  admit(key: HaltedKey, message: string, token: string): Promise<'free' | 'next' | 'parked'>;
  /** It waits no more. With the last one the key is free. */
  through(key: HaltedKey, message: string): Promise<void>;
  /** The same, unless somebody has named it since with another token. */
  withdraw(key: HaltedKey, message: string, token: string): Promise<void>;
  /** Begins or goes on with a release. False where the key does not stand still, or nothing waits: it is free then. */
  release(key: HaltedKey): Promise<boolean>;
  /** The first that wait, in order; undefined where the key does not stand still. */
  parked(key: HaltedKey, limit: number): Promise<(Halt & { readonly messages: readonly string[] }) | undefined>;
  /** Keys that stand still, the oldest first. */
  list(of: Omit<HaltedKey, 'key'>): Promise<readonly Halt[]>;
}

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

export interface Store<Tx> {
  readonly outbox: Outbox<Tx>;
  readonly inbox: Inbox<Tx>;
  /** Needed by `consume({ onExhausted: 'halt-key' })`. */
  readonly halts: HaltStore;
  /** Needed by `connect({ spill })`. */
  readonly spill?: SpillStore;
  /** Creates or upgrades the store's tables. Idempotent, and safe when several processes run it at once. */
  migrate(): Promise<void>;
  /** Ends what the store itself opened (timers, listeners, its own handle); a pool of the caller's stays open. */
  close(): Promise<void>;
}
