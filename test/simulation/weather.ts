/** What goes wrong, and how often: shared by everything in a world, and changed as the run goes on. */
export interface Weather {
  /** The broker cannot be reached. */
  brokerAway: boolean;
  /** The database cannot be reached. */
  storeAway: boolean;
  /** Shares of calls, from 0 to 1. */
  publishLost: number;
  publishUnconfirmed: number;
  publishRefused: number;
  publishTwice: number;
  publishHangs: number;
  settleLost: number;
  settleUnconfirmed: number;
  storeFails: number;
  storeReplyLost: number;
  /** One call takes up to this long. */
  latencyMs: number;
}

export const calm = (): Weather => ({
  brokerAway: false,
  storeAway: false,
  publishLost: 0,
  publishUnconfirmed: 0,
  publishRefused: 0,
  publishTwice: 0,
  publishHangs: 0,
  settleLost: 0,
  settleUnconfirmed: 0,
  storeFails: 0,
  storeReplyLost: 0,
  latencyMs: 3,
});

/** Nothing answers a process that is dead. */
export const never: Promise<never> = new Promise<never>(() => undefined);

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Lies that the checks must see; told nowhere but in the test of the checks. */
export const SABOTAGES = [
  /** Messages are confirmed that were not stored. */
  'confirms-what-is-lost',
  /** What is refused for good, as not sent, is stored. */
  'delivers-what-it-refuses',
  /** A message is gone once it was delivered. */
  'acknowledges-at-delivery',
  /** The messages of an ordered group come in any order. */
  'shuffles',
  /** The inbox remembers nothing. */
  'inbox-forgets',
  /** A row is gone once it was read. */
  'deletes-what-is-read',
] as const;
export type Sabotage = (typeof SABOTAGES)[number];

/** A process: once dead, nothing that it began has an effect any more. */
export interface Life {
  alive: boolean;
  /** What the database does when it notices: transactions end, locks go. */
  readonly ends: (() => void)[];
}
