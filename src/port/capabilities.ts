/** What a broker can do, as its adapter declares it. */

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
