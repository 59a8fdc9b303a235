import type { Incoming, Priority, Receive, Subscription } from '../../src/port.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Queue, queue } from './queue.ts';

export const LANES: readonly Priority[] = ['high', 'normal', 'low'];

/** One message of one group. Groups share no entries: what one does to its entry no other sees. */
export interface Entry {
  /** Its place in line. */
  seq: number;
  message: Incoming;
  readonly lane: Priority;
  readonly shard: number;
  /** By the broker's clock. */
  readonly storedAt: number;
  redelivered: boolean;
  suspect: boolean;
  /** Set while it is delivered and unsettled. A settlement that holds another lease than this one is stale. */
  lease: Lease | undefined;
}

export interface Lease {
  readonly entry: Entry;
  readonly member: Member;
  readonly epoch: number;
}

/** One subscription, as its group sees it. */
export interface Member {
  readonly subscription: Subscription;
  readonly receive: Receive;
  /** Of an unordered group's deliveries; those of ordered groups carry their shard's. */
  epoch: number;
  readonly leases: Set<Lease>;
  /** Unsettled deliveries per lane and shard: what `prefetch` bounds. */
  readonly unsettled: Map<Queue<Entry>, number>;
  readonly paused: Set<Priority>;
}

/** Of an ordered group: held by one member at a time, lanes together. */
export interface Shard {
  holder: Member | undefined;
  /** Raised whenever it changes hands. */
  epoch: number;
  unsettled: number;
  /** Since when it is to run empty, so that it can change hands. */
  drainingSince: number | undefined;
  /** Until when it stays where it is, having not run empty in time. */
  pinnedUntil: number;
}

export interface Letter {
  readonly letterId: string;
  readonly entry: Entry;
  readonly deadAt: number;
}

export interface Group {
  readonly topic: string;
  readonly name: string;
  readonly ordered: boolean;
  /** Per lane, one queue per shard. An unordered group has one shard. */
  readonly ready: Readonly<Record<Priority, readonly Queue<Entry>[]>>;
  readonly shards: readonly Shard[];
  /** In the order of their arrival. */
  readonly members: Member[];
  readonly delayed: Set<Entry>;
  readonly dead: Map<string, Letter>;
  /** Whether a round of deliveries is already on its way. */
  awake: boolean;
  /** Whose turn it is, so that the first member is not always served first. */
  turn: number;
}

export interface Topic {
  readonly name: string;
  readonly partitions: number;
  readonly groups: Map<string, Group>;
}

/** A broker in this process. Adapters that are given the same one are clients of it. */
export interface MemoryBroker {
  readonly clock: Clock;
  readonly topics: Map<string, Topic>;
  /** The next unused number, for places, epochs and letters alike. */
  next(): number;
  /** Calls `fn` at `at` (epoch milliseconds by the broker's clock) or later, in order of `at`. */
  at(at: number, fn: () => void): void;
  /** An adapter came or went. Without any, no timer runs; what is due meanwhile waits for the next. */
  attach(): void;
  detach(): void;
}

/** Creates a broker. All that it holds is lost with the process. @default clock the system's */
export function memoryBroker(options: { readonly clock?: Clock } = {}): MemoryBroker {
  const clock = options.clock ?? systemClock;
  const due: { readonly at: number; readonly fn: () => void }[] = [];
  let count = 0;
  let clients = 0;
  let cancel: (() => void) | undefined;

  function arm(): void {
    cancel?.();
    cancel = undefined;
    const first = due[0];
    if (first !== undefined && clients > 0) cancel = clock.setTimer(run, first.at - clock.now());
  }

  // One timer for all that is due: it may fire early or, after a long wait, in several steps.
  function run(): void {
    const now = clock.now();
    let ready = 0;
    while (ready < due.length && due[ready]!.at <= now) ready += 1;
    for (const item of due.splice(0, ready)) item.fn();
    arm();
  }

  return {
    clock,
    topics: new Map(),
    next() {
      count += 1;
      return count;
    },
    at(at, fn) {
      let low = 0;
      let high = due.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (due[middle]!.at <= at) low = middle + 1;
        else high = middle;
      }
      due.splice(low, 0, { at, fn });
      if (low === 0) arm();
    },
    attach() {
      clients += 1;
      if (clients === 1) arm();
    },
    detach() {
      clients -= 1;
      if (clients === 0) arm();
    },
  };
}

/** An empty group. */
export function group(topic: Topic, name: string, ordered: boolean): Group {
  const shards = ordered ? topic.partitions : 1;
  const queues = () => Array.from({ length: shards }, () => queue<Entry>());
  return {
    topic: topic.name,
    name,
    ordered,
    ready: { high: queues(), normal: queues(), low: queues() },
    shards: Array.from({ length: shards }, () => ({
      holder: undefined,
      epoch: 0,
      unsettled: 0,
      drainingSince: undefined,
      pinnedUntil: 0,
    })),
    members: [],
    delayed: new Set(),
    dead: new Map(),
    awake: false,
    turn: 0,
  };
}
