import type { OutboxRelayStore, ShardLease } from '../../src/port.ts';
import type { Names } from './names.ts';
import type { PgPool } from './pool.ts';

/**
 * Who relays which shard, by the database's clock and in one statement per call, without session state.
 *
 * A relay's share depends on its place among the live ones, so that the shares are even and add up to all shards.
 * What it hands over is free at once; until another relay takes it, its epoch stays, and what was already published
 * can still be settled.
 */
export function shardLeases(pool: PgPool, names: Names): Pick<OutboxRelayStore, 'lease' | 'release'> {
  const renewAndTake = leaseStatement(names);
  const release = `
    WITH free AS (UPDATE ${names.leases} SET owner = NULL, until = '-infinity' WHERE owner = $1)
    DELETE FROM ${names.relays} WHERE owner = $1`;
  return {
    async lease(owner, ttlMs) {
      const { rows } = await pool.query<{ shard: number; epoch: string }>(renewAndTake, [owner, ttlMs]);
      return rows.map(({ shard, epoch }): ShardLease => ({ shard: Number(shard), epoch: Number(epoch) }));
    },
    async release(owner) {
      await pool.query(release, [owner]);
    },
  };
}

const leaseStatement = ({ leases, relays }: Names): string => `
  WITH term AS MATERIALIZED (
    SELECT clock_timestamp() AS now, clock_timestamp() + $2::float8 * interval '1 millisecond' AS until
  ), heartbeat AS (
    INSERT INTO ${relays} AS relay (owner, until) SELECT $1, until FROM term
    ON CONFLICT (owner) DO UPDATE SET until = excluded.until
  ), forgotten AS (
    DELETE FROM ${relays} WHERE owner <> $1 AND until < (SELECT now FROM term) - interval '1 hour'
  ), live AS (
    SELECT owner FROM ${relays} WHERE owner <> $1 AND until > (SELECT now FROM term)
    UNION ALL SELECT $1
  ), share AS MATERIALIZED (
    SELECT shards / relays + CASE WHEN place < shards % relays THEN 1 ELSE 0 END AS size
    FROM (
      SELECT count(*) AS relays, count(*) FILTER (WHERE owner COLLATE "C" < $1) AS place,
        (SELECT count(*) FROM ${leases}) AS shards
      FROM live
    ) AS counted
  ), own AS MATERIALIZED (
    SELECT shard, row_number() OVER (ORDER BY shard) <= (SELECT size FROM share) AS keep
    FROM ${leases} WHERE owner = $1
  ), renewed AS (
    UPDATE ${leases} AS lease
    SET owner = CASE WHEN own.keep THEN lease.owner END, until = CASE WHEN own.keep THEN term.until ELSE '-infinity' END
    FROM own, term
    WHERE lease.shard = own.shard AND lease.owner = $1
    RETURNING lease.shard, lease.epoch, own.keep
  ), free AS MATERIALIZED (
    SELECT shard FROM ${leases}
    WHERE owner IS DISTINCT FROM $1 AND until <= (SELECT now FROM term)
    ORDER BY shard
    LIMIT greatest(0, (SELECT size FROM share) - (SELECT count(*) FROM own))
    FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE ${leases} AS lease SET owner = $1, epoch = lease.epoch + 1, until = term.until
    FROM free, term
    WHERE lease.shard = free.shard
    RETURNING lease.shard, lease.epoch
  )
  SELECT shard, epoch::text FROM renewed WHERE keep
  UNION ALL SELECT shard, epoch::text FROM taken
  ORDER BY shard`;
