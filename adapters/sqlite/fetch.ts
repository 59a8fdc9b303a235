import type { Delivery, Subscription } from '../../src/port.ts';
import { type Claims, isRedelivered, isSuspect, type Line, type MessageRow, NEVER } from './claims.ts';
import { fromRow, LANE_NUMBERS, laneName } from './headers.ts';
import type { Handle } from './settle.ts';
import type { ShardLeases } from './shards.ts';
import type { GroupRow } from './topology.ts';

/** Most rows that one transaction claims of one line: the lock, and the event loop, are held that long. */
const MAX_ROWS = 500;

/** A line with room for more of it. */
export interface OpenLine extends Line {
  /** The shard's in ordered groups, else the owner's number. */
  readonly epoch: number;
  readonly room: number;
}

export interface Fetched {
  readonly deliveries: readonly Delivery[];
  /** Lines whose shard is somebody else's by now. */
  readonly lost: readonly OpenLine[];
  /** Whether there may be more at once: a line gave all that it was asked for, or one was asked for less than its room. */
  readonly more: boolean;
}

export interface Fetch {
  /** Lines that have room, by lane, then shard. `shards` are those held, with their epochs. */
  lines(shards: ReadonlyMap<number, number>, paused: ReadonlySet<number>): readonly OpenLine[];
  /** Whether a claim would find anything. Reads only. */
  any(lines: readonly OpenLine[]): boolean;
  /** Claims what there is room for; inside a write step. */
  claim(lines: readonly OpenLine[], token: number): Fetched;
  /** Counts deliveries in, or out again, for `room`. */
  count(deliveries: readonly Delivery[], by: 1 | -1): void;
  /** Forgets the unsettled of a shard that was lost or let go. */
  forget(epoch: number): void;
}

export function createFetch(options: {
  readonly subscription: Subscription;
  readonly group: GroupRow;
  readonly owner: number;
  readonly claims: Claims;
  readonly leases: ShardLeases;
}): Fetch {
  const { subscription, group, owner, claims, leases } = options;
  const { ordered } = group;
  const prefetch = Math.max(1, Math.floor(subscription.prefetch));
  /** Unsettled deliveries per line and epoch: those of a shard that was lost do not count when it comes back. */
  const unsettled = new Map<string, number>();

  const name = (lane: number, epoch: number): string => `${lane}/${epoch}`;

  function toDelivery(line: OpenLine, token: number, row: MessageRow): Delivery {
    const id = row.id as number;
    const handle: Handle = { ...line, message: id, owner, token, ordered, open: true };
    return {
      message: fromRow(row),
      lane: laneName(line.lane),
      shard: line.shard,
      epoch: line.epoch,
      redelivered: isRedelivered(row),
      suspect: isSuspect(row),
      position: `${subscription.topology.topic}:${group.name}/${id}`,
      handle,
    };
  }

  return {
    lines(shards, paused) {
      const open: OpenLine[] = [];
      for (const lane of LANE_NUMBERS) {
        if (paused.has(lane)) continue;
        for (const [shard, epoch] of shards) {
          const room = prefetch - (unsettled.get(name(lane, epoch)) ?? 0);
          if (room > 0) open.push({ group: group.id, lane, shard, epoch, room });
        }
      }
      return open;
    },
    any(lines) {
      const now = Date.now();
      return lines.some((line) => claims.any(line, ordered ? line.epoch : 0, now));
    },
    claim(lines, token) {
      const now = Date.now();
      const deliveries: Delivery[] = [];
      const lost: OpenLine[] = [];
      let more = false;
      for (const line of lines) {
        if (ordered && !leases.holds(group.id, line.shard, owner, line.epoch)) {
          lost.push(line);
          continue;
        }
        const limit = Math.min(line.room, MAX_ROWS);
        const claim = ordered
          ? { owner, token: line.epoch, until: NEVER, fence: line.epoch }
          : { owner, token, until: now + subscription.leaseMs, fence: 0 };
        const rows = claims.take(line, claim, now, limit);
        for (const row of rows) deliveries.push(toDelivery(line, claim.token, row));
        more ||= rows.length === limit && limit < line.room;
      }
      return { deliveries, lost, more };
    },
    count(deliveries, by) {
      for (const { handle, epoch } of deliveries) {
        const line = name((handle as Handle).lane, epoch);
        const before = unsettled.get(line);
        if (by === 1 || before !== undefined) unsettled.set(line, (before ?? 0) + by);
      }
    },
    forget(epoch) {
      for (const lane of LANE_NUMBERS) unsettled.delete(name(lane, epoch));
    },
  };
}
