import type { DatabaseSync } from 'node:sqlite';
import type { Headers, OutboxRelayStore, OutboxRow, Priority, RowSettlement, ShardLease } from '../../src/port.ts';
import type { Connection } from './store-connection.ts';
import { shardLeases } from './store-leases.ts';
import { messageColumns, nowMs, shards } from './store-schema.ts';

/** The relay's side. Reads take no lock; settlements are one transaction within one turn of the event loop. */
export function relayStore(connection: Connection, onWake: OutboxRelayStore['onWake']): OutboxRelayStore {
  return {
    shards,
    ...shardLeases(connection),
    async read(leases, limit) {
      if (leases.length === 0 || limit <= 0) return [];
      const rows = await connection.read((db) => db.prepare(readStatement).all(fence(leases), Math.floor(limit)));
      return rows.map(toRow);
    },
    async settle(leases, rows) {
      if (leases.length === 0 || rows.length === 0) return [];
      return await connection.write((db) => settleAll(db, leases, rows));
    },
    async pending() {
      const row = (await connection.read((db) => db.prepare(pendingStatement).get()))!;
      const oldest = row.oldest_age_ms;
      return {
        due: row.due === 1,
        total: Number(row.total),
        oldestAgeMs: oldest === null ? undefined : Math.max(0, Number(oldest)),
      };
    },
    onWake,
  };
}

/** A row behind a failed row of its topic and key waits until that one is gone. */
const ready = `
  (due.retry_at IS NULL OR due.retry_at <= ${nowMs}) AND (due.key IS NULL OR NOT EXISTS (
    SELECT 1 FROM holdfast_outbox AS earlier
    WHERE earlier.retry_at IS NOT NULL AND earlier.topic = due.topic AND earlier.key = due.key AND earlier.id < due.id
  ))`;

/**
 * Along the row ids: with one writer at a time they are the order of the commits. A delay is not a failure: such a row
 * is read at once, with what is left of its delay, and the broker does the waiting.
 */
const readStatement = `
  SELECT CAST(id AS TEXT) AS row_id, shard, source, topic, message_id, key, dedupe_key, lane, headers, content_type, body,
    expires_in_ms, attempts, added_at, published_at, ${nowMs} AS read_at,
    max(0, delay_ms - (${nowMs} - added_at)) AS remaining_ms,
    (SELECT shape FROM holdfast_outbox_shapes AS known WHERE known.id = due.shape) AS shape_text
  FROM holdfast_outbox AS due
  WHERE due.shard IN (
    SELECT lease.shard FROM json_each(?) AS own
    JOIN holdfast_outbox_leases AS lease
      ON lease.shard = json_extract(own.value, '$[0]') AND lease.epoch = json_extract(own.value, '$[1]')
  ) AND ${ready}
  ORDER BY due.id
  LIMIT ?`;

/** Beyond so many rows they are no longer counted one by one, but taken to be as many as the ids between first and last. */
const countedRows = 10_000;

const pendingStatement = `
  WITH counted (total) AS (SELECT count(*) FROM (SELECT 1 FROM holdfast_outbox LIMIT ${countedRows + 1}))
  SELECT
    CASE WHEN total <= ${countedRows} THEN total
      ELSE (SELECT max(id) FROM holdfast_outbox) - (SELECT min(id) FROM holdfast_outbox) + 1 END AS total,
    total > ${countedRows} OR EXISTS (SELECT 1 FROM holdfast_outbox AS due WHERE ${ready}) AS due,
    (SELECT ${nowMs} - added_at FROM holdfast_outbox ORDER BY id LIMIT 1) AS oldest_age_ms
  FROM counted`;

function settleAll(
  db: DatabaseSync,
  leases: readonly ShardLease[],
  rows: readonly (RowSettlement & { readonly shard: number })[],
): readonly string[] {
  const epochs = new Map<unknown, unknown>();
  for (const { shard, epoch } of db.prepare('SELECT shard, epoch FROM holdfast_outbox_leases').all())
    epochs.set(shard, epoch);
  const ours = new Set(leases.filter(({ shard, epoch }) => epochs.get(shard) === epoch).map(({ shard }) => shard));
  const park = db.prepare(
    `INSERT INTO holdfast_outbox_parked (${messageColumns}, reason, parked_at)
     SELECT ${messageColumns}, ?, ${nowMs} FROM holdfast_outbox WHERE id = ? AND shard = ?`,
  );
  const remove = db.prepare('DELETE FROM holdfast_outbox WHERE id = ? AND shard = ?');
  const later = db.prepare(
    `UPDATE holdfast_outbox SET attempts = attempts + 1, retry_at = ${nowMs} + ? WHERE id = ? AND shard = ?`,
  );
  const settled: string[] = [];
  for (const { rowId, shard, kind, reason = '', delayMs = 0 } of rows) {
    if (!ours.has(shard)) continue;
    if (kind === 'park') park.run(reason, rowId, shard);
    const { changes } = kind === 'later' ? later.run(Math.ceil(delayMs), rowId, shard) : remove.run(rowId, shard);
    if (changes === 1) settled.push(rowId);
  }
  return settled;
}

function fence(leases: readonly ShardLease[]): string {
  return JSON.stringify(leases.map(({ shard, epoch }) => [shard, epoch]));
}

function toRow(row: Record<string, unknown>): OutboxRow {
  const text = (column: string): string | undefined => (row[column] === null ? undefined : String(row[column]));
  const headers = text('headers');
  const shape = text('shape_text');
  const expiresInMs = text('expires_in_ms');
  const publishedAt = text('published_at');
  if (shape === undefined) throw new Error(`Row ${row.row_id} of the outbox refers to a shape that was deleted.`);
  return {
    rowId: String(row.row_id),
    shard: Number(row.shard),
    source: String(row.source),
    shape,
    topic: String(row.topic),
    id: String(row.message_id),
    key: text('key'),
    dedupeKey: text('dedupe_key'),
    lane: row.lane as Priority,
    headers: headers === undefined ? {} : (JSON.parse(headers) as Headers),
    contentType: String(row.content_type),
    body: row.body as Uint8Array,
    delayMs: Number(row.remaining_ms),
    expiresInMs: expiresInMs === undefined ? undefined : Number(expiresInMs),
    attempts: Number(row.attempts),
    addedAt: Number(row.added_at),
    readAt: Number(row.read_at),
    ...(publishedAt === undefined ? {} : { publishedAt: Number(publishedAt) }),
  };
}
