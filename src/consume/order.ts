/** What waits, by lane; and in ordered groups one message of a key at a time. */

import type { Priority } from '../port.ts';
import { type Fifo, fifo } from './fifo.ts';
import { byLane, type Lanes } from './lanes.ts';
import type { Work } from './work.ts';

export interface Schedule {
  readonly waiting: number;
  add(work: Work): void;
  /** Whether `next` may have one of this lane. */
  has(lane: Priority): boolean;
  /** The next one that may be handled. In ordered groups its key is busy until `free`. */
  next(lane: Priority): Work | undefined;
  /** The key's next message may be handled. */
  free(work: Work): void;
  /** How many wait for this one's key; 0 where there is no order. */
  behind(work: Work): number;
  /** Forgets what waits and matches, as after a revocation. */
  drop(matches: (work: Work) => boolean): void;
}

export function unorderedSchedule(): Schedule {
  const lanes: Lanes<Fifo<Work>> = byLane(() => fifo<Work>());
  return {
    get waiting() {
      return lanes.high.size + lanes.normal.size + lanes.low.size;
    },
    add: (work) => lanes[work.delivery.lane].push(work),
    has: (lane) => lanes[lane].size > 0,
    next: (lane) => lanes[lane].shift(),
    free: () => undefined,
    behind: () => 0,
    drop(matches) {
      for (const lane of Object.values(lanes)) lane.remove(matches);
    },
  };
}

interface Chain {
  readonly lane: Priority;
  readonly waiting: Fifo<Work>;
  busy: boolean;
}

export function orderedSchedule(): Schedule {
  const chains = new Map<string, Chain>();
  // Chains with something waiting and nothing being handled.
  const ready: Lanes<Fifo<string>> = byLane(() => fifo<string>());
  let waiting = 0;
  // A foreign message without a key has no order to keep.
  const nameOf = ({ delivery }: Work): string =>
    `${delivery.lane} ${delivery.shard} ${delivery.message.key === undefined ? `-${delivery.position}` : `=${delivery.message.key}`}`;

  return {
    get waiting() {
      return waiting;
    },
    add(work) {
      const name = nameOf(work);
      let chain = chains.get(name);
      if (chain === undefined) {
        chain = { lane: work.delivery.lane, waiting: fifo(), busy: false };
        chains.set(name, chain);
      }
      chain.waiting.push(work);
      waiting += 1;
      if (!chain.busy && chain.waiting.size === 1) ready[chain.lane].push(name);
    },
    has: (lane) => ready[lane].size > 0,
    next(lane) {
      for (;;) {
        const name = ready[lane].shift();
        if (name === undefined) return undefined;
        const chain = chains.get(name);
        // After a drop, a chain may be named here though it is empty, or twice.
        if (chain === undefined || chain.busy) continue;
        const work = chain.waiting.shift();
        if (work === undefined) {
          chains.delete(name);
          continue;
        }
        chain.busy = true;
        waiting -= 1;
        return work;
      }
    },
    free(work) {
      const name = nameOf(work);
      const chain = chains.get(name);
      if (chain === undefined) return;
      chain.busy = false;
      if (chain.waiting.size > 0) ready[chain.lane].push(name);
      else chains.delete(name);
    },
    behind: (work) => chains.get(nameOf(work))?.waiting.size ?? 0,
    drop(matches) {
      for (const chain of chains.values()) {
        const before = chain.waiting.size;
        chain.waiting.remove(matches);
        waiting -= before - chain.waiting.size;
      }
    },
  };
}
