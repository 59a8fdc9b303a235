import type { Names } from './names.ts';

export const milliseconds = (time: string): string => `floor(extract(epoch FROM ${time}) * 1000)::bigint`;

/**
 * Due rows of the shards whose epoch is still ours, by id. Each shard is read from its front along the primary key, so
 * that the backlog of a shard of somebody else costs nothing: at most $3 rows of each and $4 in all. No locks: a shard
 * has one owner.
 *
 * A row behind a failed row of its topic and key waits until that one is gone. A delay is not a failure: such a row is
 * read at once, with what is left of its delay, and the broker does the waiting.
 */
export const readStatement = ({ outbox, leases, shapes }: Names): string => `
  SELECT stored.id::text AS row_id, stored.shard::text, source, topic, message_id, key, dedupe_key, lane, headers::text,
    content_type, body, published_at::text, expires_in_ms::text, attempts::text, ${milliseconds('added_at')}::text AS added_at,
    ${milliseconds('statement_timestamp()')}::text AS read_at,
    greatest(0, delay_ms - ${milliseconds('(statement_timestamp() - added_at)')})::text AS delay_ms,
    (SELECT shape FROM ${shapes} AS shape WHERE shape.id = stored.shape LIMIT 1) AS shape
  FROM (
    SELECT front.shard, front.id
    FROM unnest($1::smallint[], $2::bigint[]) AS own (shard, epoch)
    JOIN ${leases} AS lease ON lease.shard = own.shard AND lease.epoch = own.epoch
    CROSS JOIN LATERAL (
      SELECT EXISTS (SELECT FROM ${outbox} WHERE shard = own.shard AND retry_at IS NOT NULL) AS any
    ) AS failed
    CROSS JOIN LATERAL (
      SELECT due.shard, due.id
      FROM ${outbox} AS due
      WHERE due.shard = own.shard
        AND (due.retry_at IS NULL OR due.retry_at <= statement_timestamp())
        AND (NOT failed.any OR ${notBehindFailed(outbox, 'due')})
      ORDER BY due.id
      LIMIT $3
    ) AS front
    ORDER BY front.id
    LIMIT $4
  ) AS first
  JOIN ${outbox} AS stored ON stored.shard = first.shard AND stored.id = first.id
  ORDER BY stored.id`;

/** A scalar subquery stays one probe of the index per row; NOT EXISTS would become a join that reads the whole shard. */
const notBehindFailed = (outbox: string, row: string): string => `(
  ${row}.key IS NULL OR (
    SELECT true FROM ${outbox} AS earlier
    WHERE earlier.shard = ${row}.shard AND left(earlier.key, 64) = left(${row}.key, 64) AND earlier.id < ${row}.id
      AND earlier.retry_at IS NOT NULL AND earlier.key = ${row}.key AND earlier.topic = ${row}.topic
    LIMIT 1
  ) IS NULL
)`;

/** Leases whose epoch is still ours, held until the end of the statement: a shard that is being settled is not taken. */
const fence = (leases: string): string => `
  fence AS MATERIALIZED (
    SELECT lease.shard
    FROM ${leases} AS lease
    JOIN unnest($1::smallint[], $2::bigint[]) AS own (shard, epoch)
      ON lease.shard = own.shard AND lease.epoch = own.epoch
    FOR SHARE OF lease
  )`;

/** The usual case: every row was confirmed. */
export const settleSentStatement = ({ outbox, leases }: Names): string => `
  WITH ${fence(leases)}
  DELETE FROM ${outbox} AS stored
  USING unnest($3::smallint[], $4::bigint[]) AS sent (shard, id)
  WHERE stored.shard = sent.shard AND stored.id = sent.id AND sent.shard IN (SELECT shard FROM fence)
  RETURNING stored.id::text AS row_id`;

export const settleStatement = ({ outbox, parked, leases }: Names): string => `
  WITH ${fence(leases)},
  verdict AS MATERIALIZED (
    SELECT *
    FROM unnest($3::smallint[], $4::bigint[], $5::text[], $6::text[], $7::float8[])
      AS given (shard, id, kind, reason, delay_ms)
    WHERE shard IN (SELECT shard FROM fence)
  ), gone AS (
    DELETE FROM ${outbox} AS stored USING verdict
    WHERE verdict.kind IN ('sent', 'park') AND stored.shard = verdict.shard AND stored.id = verdict.id
    RETURNING stored.*, verdict.kind, verdict.reason
  ), parked AS (
    INSERT INTO ${parked} (${messageColumns}, reason)
    SELECT ${messageColumns}, reason FROM gone WHERE kind = 'park'
  ), later AS (
    UPDATE ${outbox} AS stored
    SET attempts = stored.attempts + 1, retry_at = clock_timestamp() + verdict.delay_ms * interval '1 millisecond'
    FROM verdict
    WHERE verdict.kind = 'later' AND stored.shard = verdict.shard AND stored.id = verdict.id
    RETURNING stored.id
  )
  SELECT id::text AS row_id FROM gone
  UNION ALL SELECT id::text FROM later`;

export const messageColumns = `shard, id, source, shape, topic, message_id, key, dedupe_key, lane, headers, content_type, body,
  delay_ms, expires_in_ms, attempts, added_at, published_at`;

/** Beyond so many rows they are no longer counted one by one. */
const countedRows = 10_000;

/** Exact up to 10,000 rows; beyond, the planner's estimate of the table's size. */
export const pendingStatement = ({ outbox, leases }: Names): string => `
  WITH counted AS MATERIALIZED (
    SELECT count(*) AS total FROM (SELECT FROM ${outbox} LIMIT ${countedRows + 1}) AS rows
  )
  SELECT
    CASE WHEN total <= ${countedRows} THEN total
      ELSE greatest(total, (SELECT reltuples::bigint FROM pg_class WHERE oid = '${outbox}'::regclass))
    END::text AS total,
    total > ${countedRows} OR EXISTS (
      SELECT FROM ${outbox} AS due
      WHERE (due.retry_at IS NULL OR due.retry_at <= statement_timestamp()) AND ${notBehindFailed(outbox, 'due')}
    ) AS due,
    (
      SELECT max(${milliseconds('(statement_timestamp() - oldest.added_at)')})
      FROM ${leases} AS lease
      CROSS JOIN LATERAL (SELECT added_at FROM ${outbox} WHERE shard = lease.shard ORDER BY id LIMIT 1) AS oldest
    )::text AS oldest_age_ms
  FROM counted`;
