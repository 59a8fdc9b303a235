/**
 * What the Kafka adapter asks of a client library. Types only: `kafkajs.ts` is the first driver behind them.
 *
 * Offsets are numbers: a partition would need 9 × 10¹⁵ records to pass what a double holds exactly.
 */

export type RecordHeaders = Readonly<Record<string, Uint8Array>>;

/** A record as it came off the wire. */
export interface KafkaRecord {
  readonly offset: number;
  /** Epoch milliseconds, by the producer's or (on ladders) the broker's clock. */
  readonly timestamp: number | undefined;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Without a prototype. Of a name that occurs several times, the last value. */
  readonly headers: RecordHeaders;
}

/** A record on its way to the broker. */
export interface NewRecord {
  readonly key: Buffer | string | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string | Uint8Array>>;
  readonly timestamp?: number;
}

export interface Place {
  readonly topic: string;
  readonly partition: number;
}

/** Records that become one batch of one partition. */
export interface PartitionBatch extends Place {
  readonly records: readonly NewRecord[];
}

export type BatchAnswer =
  /** Stored from `offset` on; `appendedAt` is the broker's clock where the topic takes its timestamps from there. */
  | { readonly stored: 'yes'; readonly offset: number; readonly appendedAt: number | undefined }
  /** `fenced`: this producer's numbering no longer agrees with the broker's, so it must not be used again. */
  | { readonly stored: 'no' | 'maybe'; readonly error: unknown; readonly fenced?: boolean };

/**
 * An idempotent producer. Never two `send` calls with the same partition at once: their order would be undefined.
 * A batch that is sent again by the same producer after `maybe` is stored once.
 */
export interface KafkaProducer {
  /** One answer per batch, in order. Never rejects. */
  send(batches: readonly PartitionBatch[]): Promise<readonly BatchAnswer[]>;
  /** Destroys its sockets: from here on not a byte leaves it, whatever the library would like to retry. */
  kill(): void;
  close(): Promise<void>;
}

/** Partitions that one member owns together, or not at all: partition n of every lane. */
export type Unit = readonly Place[];

export interface GroupSpec {
  readonly group: string;
  readonly topics: readonly string[];
  /** Each pool of units is spread evenly over the members. The same on every member. */
  readonly pools: readonly (readonly Unit[])[];
}

/** What a group member tells its owner. None of these may throw. */
export interface GroupEvents {
  /** The member will rejoin when this resolves. Until then its assignment holds and commits work, unless it was evicted. */
  rejoining(): Promise<void>;
  /** Owned from now on. `continuous`: what was owned before and still is was nobody else's in between. */
  assigned(owned: readonly Place[], continuous: boolean): void;
  /** Fetched, in offset order; the next fetch begins at `next`. Nothing more is fetched before it resolves. */
  records(place: Place, records: readonly KafkaRecord[], next: number): Promise<void>;
  /** The member is out of service, what it owned is lost, and it will be replaced by itself. */
  down(error: unknown): void;
}

export interface GroupMember {
  pause(place: Place): void;
  resume(place: Place): void;
  seek(place: Place, offset: number): void;
  /** Under the current assignment only: rejects where the group has moved on. */
  commit(offsets: readonly (Place & { readonly offset: number; readonly metadata: string })[]): Promise<void>;
  /** Whether it is a member now, and when (epoch milliseconds) it last fetched or sent a heartbeat. */
  state(): { readonly joined: boolean; readonly activeAt: number };
  /** Leaves the group. */
  stop(): Promise<void>;
}

export interface TopicSpec {
  readonly topic: string;
  readonly partitions: number;
  /** −1 is the broker's default. */
  readonly replication: number;
  readonly config: Readonly<Record<string, string>>;
}

export interface Committed {
  /** Undefined where nothing was ever committed. */
  readonly offset: number | undefined;
  readonly metadata: string;
}

export interface KafkaClient {
  connect(): Promise<void>;
  /** Creates what is missing and leaves alone what is there. */
  createTopics(topics: readonly TopicSpec[]): Promise<void>;
  /** Number of partitions, or undefined where there is no such topic. */
  partitionsOf(topic: string): Promise<number | undefined>;
  /** The fewest replicas that one of its partitions has, or undefined where there is no such topic. */
  replicasOf(topic: string): Promise<number | undefined>;
  /** One value of a topic's configuration, or undefined where it cannot be read. */
  configOf(topic: string, name: string): Promise<string | undefined>;
  /** By topic, then partition. */
  committed(group: string, topics: ReadonlyMap<string, number>): Promise<ReadonlyMap<string, readonly Committed[]>>;
  /** Commits for a group that has no members; refused by the broker where it has some. */
  commitFor(
    group: string,
    offsets: readonly (Place & { readonly offset: number; readonly metadata: string })[],
  ): Promise<void>;
  /** First offset, next offset, or first offset at or after a time (next offset where there is none), by partition. */
  offsets(topic: string, partitions: number, at: 'earliest' | 'latest' | number): Promise<readonly number[]>;
  /** Reads without a group. Empty at the end of the partition. */
  read(place: Place, offset: number): Promise<{ readonly records: readonly KafkaRecord[]; readonly next: number }>;
  producer(): Promise<KafkaProducer>;
  /** Resolves once it has joined, or after `connectTimeoutMs`; rejects if the first attempt fails. */
  join(spec: GroupSpec, events: GroupEvents): Promise<GroupMember>;
  /** Asks the broker anything. */
  ping(): Promise<void>;
  isTransient(error: unknown): boolean;
  close(): Promise<void>;
}
