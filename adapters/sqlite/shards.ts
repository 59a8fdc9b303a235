import type { DatabaseSync } from 'node:sqlite';

export interface ShardRow {
  readonly shard: number;
  /** 0: nobody. */
  readonly owner: number;
  readonly epoch: number;
  readonly until: number;
}

export interface Plan {
  /** Free, and ours to take. */
  readonly take: readonly number[];
  /** Above our share, with deliveries that are unsettled: to be given nothing more. */
  readonly drain: readonly number[];
  /** Above our share and empty, or given up: to be let go now. */
  readonly release: readonly number[];
}

export interface Situation {
  readonly me: number;
  readonly now: number;
  readonly live: readonly number[];
  readonly rows: readonly ShardRow[];
  /** What we know to hold, shard to epoch. A row in our name that is not here has been given up. */
  readonly held: ReadonlyMap<number, number>;
  /** Shards with unsettled deliveries. */
  readonly busy: ReadonlySet<number>;
  readonly draining: ReadonlySet<number>;
  /** Shards that did not run empty in time and are left alone for a while. */
  readonly pinned: ReadonlySet<number>;
}

/**
 * What to change so that every live owner holds its share: the shards divided by the owners, the remainder to the
 * oldest. Shares add up to the number of shards, so all who plan by themselves still agree; nobody takes what is held.
 */
export function planShards({ me, now, live, rows, held, busy, draining, pinned }: Situation): Plan {
  const owners = live.includes(me) ? live : [...live, me].sort((a, b) => a - b);
  const rank = owners.indexOf(me);
  const share = Math.floor(rows.length / owners.length) + (rank < rows.length % owners.length ? 1 : 0);
  const ours = rows.filter((row) => row.owner === me);
  const kept = ours.filter((row) => held.get(row.shard) === row.epoch).map((row) => row.shard);
  const givenUp = ours.filter((row) => held.get(row.shard) !== row.epoch).map((row) => row.shard);
  const excess = kept.length - share;
  if (excess <= 0) {
    const free = rows.filter((row) => row.owner === 0 || (row.until <= now && row.owner !== me));
    return { take: free.slice(0, -excess).map((row) => row.shard), drain: [], release: givenUp };
  }
  // Those that are on their way out already go first, then the empty ones.
  const rankOf = (shard: number): number => (draining.has(shard) ? 0 : busy.has(shard) ? 2 : 1);
  const leaving = kept
    .filter((shard) => !pinned.has(shard))
    .sort((a, b) => rankOf(a) - rankOf(b) || b - a)
    .slice(0, excess);
  return {
    take: [],
    drain: leaving.filter((shard) => busy.has(shard)),
    release: [...givenUp, ...leaving.filter((shard) => !busy.has(shard))],
  };
}

/** The leases of an ordered group's shards. `take`, `release` and `renew` belong inside a write step. */
export interface ShardLeases {
  rows(group: number): readonly ShardRow[];
  /** Shards in which this owner has unsettled deliveries. */
  busy(group: number, owner: number): ReadonlySet<number>;
  holds(group: number, shard: number, owner: number, epoch: number): boolean;
  /** Raises the epoch, which fences off every earlier holder. Returns it. */
  take(group: number, shard: number, owner: number, until: number): number;
  release(group: number, shard: number, owner: number): void;
  renew(group: number, owner: number, until: number): void;
}

export function createShardLeases(db: DatabaseSync): ShardLeases {
  const rows = db.prepare('SELECT shard, owner, epoch, until FROM hf_shards WHERE grp = ? ORDER BY shard');
  const busy = db.prepare(
    'SELECT DISTINCT m.shard FROM hf_claims c JOIN hf_messages m ON m.id = c.message WHERE c.owner = ? AND c.grp = ?',
  );
  const holds = db.prepare('SELECT 1 FROM hf_shards WHERE grp = ? AND shard = ? AND owner = ? AND epoch = ?');
  // One counter for all shards, so that an epoch names one holding of one shard.
  const nextEpoch = db.prepare("UPDATE hf_meta SET value = value + 1 WHERE name = 'epoch' RETURNING value");
  const take = db.prepare('UPDATE hf_shards SET owner = ?, epoch = ?, until = ? WHERE grp = ? AND shard = ?');
  const release = db.prepare('UPDATE hf_shards SET owner = 0, until = 0 WHERE grp = ? AND shard = ? AND owner = ?');
  const renew = db.prepare('UPDATE hf_shards SET until = ? WHERE grp = ? AND owner = ?');

  return {
    rows: (group) => rows.all(group) as unknown as ShardRow[],
    busy: (group, owner) => new Set(busy.all(owner, group).map((row) => row.shard as number)),
    holds: (group, shard, owner, epoch) => holds.get(group, shard, owner, epoch) !== undefined,
    take(group, shard, owner, until) {
      const epoch = nextEpoch.all()[0]!.value as number;
      take.run(owner, epoch, until, group, shard);
      return epoch;
    },
    release(group, shard, owner) {
      release.run(group, shard, owner);
    },
    renew(group, owner, until) {
      renew.run(until, group, owner);
    },
  };
}
