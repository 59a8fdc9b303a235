import type { Backlog } from '../../src/port.ts';
import { LANES, type MemoryBroker } from './broker.ts';
import { findGroup } from './topology.ts';

/** Counts, exactly. The age is that of the longest waiting ready message, 0 where none waits. */
export function backlog(broker: MemoryBroker, topic: string, groupName: string): Backlog {
  const group = findGroup(broker, topic, groupName);
  const now = broker.clock.now();
  let ready = 0;
  let oldestAgeMs = 0;
  for (const lane of LANES) {
    for (const queue of group.ready[lane]) {
      ready += queue.length;
      const first = queue.first();
      if (first !== undefined) oldestAgeMs = Math.max(oldestAgeMs, now - first.storedAt);
    }
  }
  return {
    ready,
    inFlight: group.shards.reduce((sum, shard) => sum + shard.unsettled, 0),
    delayed: group.delayed.size,
    dead: group.dead.size,
    oldestAgeMs,
    exact: true,
  };
}
