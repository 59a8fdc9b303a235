/** Keys that stand still. */

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
