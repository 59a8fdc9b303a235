/** A database that processes share: outbox rows, shard leases, an inbox, and effects that commit with it. */

import type { InboxClaim, OutboxRow, ShardLease } from '../../src/port.ts';

export const SHARDS = 64;

export interface Effect {
  readonly group: string;
  readonly id: string;
}
export interface StoredRow extends OutboxRow {
  dueAt: number;
  failures: number;
  parked: string | undefined;
}

export interface SimDatabase {
  readonly rows: StoredRow[];
  readonly effects: Effect[];
  readonly handled: Set<string>;
  /** Claims of transactions that have not ended: who comes second waits. */
  readonly locks: Map<string, Promise<void>>;
  insert(rows: readonly Omit<StoredRow, 'rowId'>[]): void;
  lease(owner: string, ttlMs: number): readonly ShardLease[];
  release(owner: string): void;
  epochOf(shard: number): number;
}

export const claimName = ({ group, topic, identity }: InboxClaim): string => `${group}\n${topic}\n${identity}`;

export function simDatabase(): SimDatabase {
  const leases = Array.from({ length: SHARDS }, () => ({ owner: '', epoch: 0, until: 0 }));
  const owners = new Map<string, number>();
  let rowIds = 0;
  const rows: StoredRow[] = [];

  return {
    rows,
    effects: [],
    handled: new Set(),
    locks: new Map(),
    insert(added) {
      for (const row of added) {
        rowIds += 1;
        rows.push({ ...row, rowId: String(rowIds) });
      }
    },
    lease(owner, ttlMs) {
      const now = Date.now();
      owners.set(owner, now + ttlMs);
      for (const [name, until] of owners) if (until <= now) owners.delete(name);
      const share = Math.ceil(SHARDS / owners.size);
      const mine = leases.filter((lease) => lease.owner === owner && lease.until > now);
      for (const lease of mine.splice(share)) lease.until = 0;
      for (const lease of leases) {
        if (mine.length >= share) break;
        if (lease.until > now) continue;
        lease.owner = owner;
        lease.epoch += 1;
        mine.push(lease);
      }
      for (const lease of mine) lease.until = now + ttlMs;
      return mine.map((lease) => ({ shard: leases.indexOf(lease), epoch: lease.epoch }));
    },
    release(owner) {
      owners.delete(owner);
      for (const lease of leases) if (lease.owner === owner) lease.until = 0;
    },
    epochOf: (shard) => leases[shard]!.epoch,
  };
}
