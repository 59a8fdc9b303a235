import type { Priority, Receive, Settlement, SettleOutcome, Source, Subscription } from '../../src/port.ts';
import { type Group, LANES, type Lease, type Member, type MemoryBroker } from './broker.ts';
import { bury } from './dead-letters.ts';
import { wake } from './deliver.ts';
import { withMarks } from './headers.ts';
import { delay, putBack } from './publish.ts';
import { findGroup } from './topology.ts';

/** A source, and what a test may do to it. */
export interface MemorySource extends Source {
  /** As when a connection breaks: the unsettled go back as suspects, `revoked` is told, deliveries go on under a new epoch. */
  disconnect(): void;
  /** As when the process dies: the unsettled go back as suspects, and the source hears nothing ever again. */
  crash(): void;
}

/** Joins the group. Deliveries begin in a later turn of the event loop. */
export function subscribe(broker: MemoryBroker, subscription: Subscription, receive: Receive): MemorySource {
  const group = findGroup(broker, subscription.topology.topic, subscription.group);
  const member: Member = {
    subscription,
    receive,
    epoch: broker.next(),
    leases: new Set(),
    unsettled: new Map(),
    paused: new Set(),
  };
  group.members.push(member);
  wake(broker, group);

  function leave(how: 'stopped' | 'crashed'): void {
    const index = group.members.indexOf(member);
    if (index === -1) return;
    group.members.splice(index, 1);
    for (const shard of group.shards) {
      if (shard.holder !== member) continue;
      shard.holder = undefined;
      shard.pinnedUntil = 0;
    }
    takeBack(broker, group, member, how === 'crashed');
    wake(broker, group);
  }

  return {
    async settle(batch) {
      const outcomes = batch.map((settlement) => settle(broker, group, settlement));
      wake(broker, group);
      return outcomes;
    },
    async mark(delivery, marks) {
      const lease = delivery.handle as Lease;
      if (lease.entry.lease !== lease) return 'stale';
      lease.entry.message = withMarks(lease.entry.message, marks);
      return 'settled';
    },
    // Nothing expires here: a delivery is lent until it is settled, or until its subscription ends.
    async extend() {},
    pause(lane) {
      for (const each of lanes(lane)) member.paused.add(each);
    },
    resume(lane) {
      for (const each of lanes(lane)) member.paused.delete(each);
      wake(broker, group);
    },
    async stop() {
      leave('stopped');
    },
    disconnect() {
      if (!group.members.includes(member)) return;
      const lost = new Set([...member.leases].map((lease) => lease.epoch));
      takeBack(broker, group, member, true);
      member.epoch = broker.next();
      for (const shard of group.shards) if (shard.holder === member) shard.epoch = broker.next();
      for (const epoch of lost) receive.revoked(epoch);
      wake(broker, group);
    },
    crash() {
      leave('crashed');
    },
  };
}

function lanes(lane: Priority | undefined): readonly Priority[] {
  return lane === undefined ? LANES : [lane];
}

function settle(broker: MemoryBroker, group: Group, settlement: Settlement): SettleOutcome {
  const lease = settlement.delivery.handle as Lease;
  const { entry } = lease;
  if (entry.lease !== lease) return 'stale';
  release(group, lease);
  switch (settlement.kind) {
    case 'done':
      break;
    case 'give-back':
      entry.redelivered = true;
      putBack(broker, group, entry);
      break;
    case 'retry':
      entry.message = withMarks(entry.message, settlement.marks);
      // It has failed and is counted: whatever it was suspected of, it is not unsettled any more.
      entry.redelivered = false;
      entry.suspect = false;
      delay(broker, group, entry, settlement.delayMs);
      break;
    case 'dead':
      bury(broker, group, entry, settlement.marks);
      break;
  }
  return 'settled';
}

/** Ends a delivery: whoever settles it later is late. */
function release(group: Group, lease: Lease): void {
  const { entry, member } = lease;
  const queue = group.ready[entry.lane][entry.shard]!;
  entry.lease = undefined;
  member.leases.delete(lease);
  member.unsettled.set(queue, member.unsettled.get(queue)! - 1);
  group.shards[entry.shard]!.unsettled -= 1;
}

function takeBack(broker: MemoryBroker, group: Group, member: Member, suspect: boolean): void {
  for (const lease of member.leases) {
    release(group, lease);
    lease.entry.redelivered = true;
    // Once suspected stays suspected until it is handled: to be given back proves nothing.
    lease.entry.suspect ||= suspect;
    putBack(broker, group, lease.entry);
  }
}
