import type { Delivery } from '../../src/port.ts';
import { type Entry, type Group, LANES, type Lease, type Member, type MemoryBroker } from './broker.ts';
import { fromStored } from './headers.ts';
import type { Queue } from './queue.ts';

/** How long a shard is waited for that is to change hands, and how long it is left alone when it was in vain. */
const DRAIN_MS = 5_000;
const PINNED_MS = 30_000;

/**
 * Has the group's next round of deliveries run in a later turn of the event loop: never inside `publish` or `settle`,
 * and once for all that happens in one turn, which is what makes batches.
 */
export function wake(broker: MemoryBroker, group: Group): void {
  if (group.awake || group.members.length === 0) return;
  group.awake = true;
  setImmediate(() => {
    group.awake = false;
    deliverRound(broker, group);
  });
}

function deliverRound(broker: MemoryBroker, group: Group): void {
  if (group.members.length === 0) return;
  if (group.ordered) handOver(broker, group);
  group.turn += 1;
  const batches = new Map<Member, Delivery[]>();
  for (const lane of LANES) {
    group.ready[lane].forEach((queue, shard) => {
      while (queue.length > 0) {
        const open = members(group, shard).filter((member) => !member.paused.has(lane) && room(member, queue) > 0);
        if (open.length === 0) break;
        // An equal share each; what a full member leaves is dealt to the others by the next lap.
        const share = Math.ceil(queue.length / open.length);
        for (const member of open) {
          const batch = batches.get(member) ?? [];
          batches.set(member, batch);
          for (const entry of queue.take(Math.min(share, room(member, queue)))) {
            batch.push(lend(group, member, queue, entry));
          }
        }
      }
    });
  }
  for (const [member, batch] of batches) member.receive.deliver(batch);
}

/** Who may get messages of this shard, beginning with whose turn it is. */
function members(group: Group, shard: number): readonly Member[] {
  if (!group.ordered) {
    const first = group.turn % group.members.length;
    return [...group.members.slice(first), ...group.members.slice(0, first)];
  }
  const { holder, drainingSince } = group.shards[shard]!;
  return holder === undefined || drainingSince !== undefined ? [] : [holder];
}

/**
 * Gives each shard to the member whose it is by number. A shard that changes hands first runs empty: its holder gets
 * nothing more of it until all that was delivered is settled. That keeps the order. One that does not run empty in time
 * (a key is held for its next attempt) goes on with its holder, and is asked for again later.
 */
function handOver(broker: MemoryBroker, group: Group): void {
  const now = broker.clock.now();
  const again = (ms: number): void => broker.at(now + ms, () => wake(broker, group));
  group.shards.forEach((shard, index) => {
    const next = group.members[index % group.members.length]!;
    if (shard.holder === next || now < shard.pinnedUntil) {
      shard.drainingSince = undefined;
    } else if (shard.unsettled === 0) {
      shard.holder = next;
      shard.epoch = broker.next();
      shard.drainingSince = undefined;
    } else if (shard.drainingSince === undefined) {
      shard.drainingSince = now;
      again(DRAIN_MS);
    } else if (now - shard.drainingSince >= DRAIN_MS) {
      shard.drainingSince = undefined;
      shard.pinnedUntil = now + PINNED_MS;
      again(PINNED_MS);
    }
  });
}

function room(member: Member, queue: Queue<Entry>): number {
  return member.subscription.prefetch - (member.unsettled.get(queue) ?? 0);
}

function lend(group: Group, member: Member, queue: Queue<Entry>, entry: Entry): Delivery {
  const shard = group.shards[entry.shard]!;
  const epoch = group.ordered ? shard.epoch : member.epoch;
  const lease: Lease = { entry, member, epoch };
  entry.lease = lease;
  member.leases.add(lease);
  member.unsettled.set(queue, (member.unsettled.get(queue) ?? 0) + 1);
  shard.unsettled += 1;
  return {
    message: fromStored(entry.message),
    lane: entry.lane,
    shard: entry.shard,
    epoch,
    redelivered: entry.redelivered,
    suspect: entry.suspect,
    position: `${group.topic}:${group.name}:${entry.lane}/${entry.shard}/${entry.seq}`,
    handle: lease,
  };
}
