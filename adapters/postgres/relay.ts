import type { Headers, OutboxRelayStore, OutboxRow, Priority, RowSettlement, ShardLease } from '../../src/port.ts';
import { explaining } from './errors.ts';
import { shardLeases } from './leases.ts';
import { shards } from './migrate.ts';
import type { Names } from './names.ts';
import type { PgPool } from './pool.ts';
import { pendingStatement, readStatement, settleSentStatement, settleStatement } from './relay-statements.ts';

/** The relay's side: every call is one statement on a connection of the pool, and keeps nothing in the session. */
export function relayStore(pool: PgPool, names: Names, onWake: OutboxRelayStore['onWake']): OutboxRelayStore {
  const { lease, release } = shardLeases(pool, names);
  const read = readStatement(names);
  const settleSent = settleSentStatement(names);
  const settle = settleStatement(names);
  const pending = pendingStatement(names);

  const run = <T>(call: Promise<T>): Promise<T> => explaining(names, call);

  async function readFront({ of: leases, perShard, limit }: Front): Promise<readonly StoredRow[]> {
    const { rows } = await pool.query<StoredRow>(read, [...fence(leases), perShard, limit]);
    return rows;
  }

  /**
   * A few rows of each shard make up a batch where the backlog is spread evenly. A shard that gave all it was asked for
   * may have more before the batch's end: it alone is read again, in full.
   */
  async function readInOrder(leases: readonly ShardLease[], limit: number): Promise<readonly StoredRow[]> {
    const perShard = Math.min(limit, Math.ceil((2 * limit) / leases.length) + 8);
    const rows = await readFront({ of: leases, perShard, limit });
    if (perShard === limit) return rows;
    const found = Map.groupBy(rows, ({ shard }) => Number(shard));
    const cut = leases.filter(({ shard }) => found.get(shard)?.length === perShard);
    if (cut.length === 0) return rows;
    const again = new Set(cut.map(({ shard }) => shard));
    const complete = await readFront({ of: cut, perShard: limit, limit });
    return [...rows.filter(({ shard }) => !again.has(Number(shard))), ...complete].sort(byId).slice(0, limit);
  }

  return {
    shards,
    lease: (owner, ttlMs) => run(lease(owner, ttlMs)),
    release: (owner) => run(release(owner)),
    async read(leases, limit) {
      if (leases.length === 0 || limit <= 0) return [];
      const rows = await run(readInOrder(leases, limit));
      return rows.map(toRow);
    },
    async settle(leases, rows) {
      const touched = new Set(rows.map(({ shard }) => shard));
      const held = leases.filter(({ shard }) => touched.has(shard));
      if (held.length === 0) return [];
      const places = [rows.map(({ shard }) => shard), rows.map(({ rowId }) => rowId)];
      const { rows: settled } = await run(
        rows.every(({ kind }) => kind === 'sent')
          ? pool.query<{ row_id: string }>(settleSent, [...fence(held), ...places])
          : pool.query<{ row_id: string }>(settle, [...fence(held), ...places, ...verdicts(rows)]),
      );
      return settled.map(({ row_id }) => row_id);
    },
    async pending() {
      const { rows } = await run(pool.query<Pending>(pending));
      const { due, total, oldest_age_ms: oldest } = rows[0]!;
      return { due, total: Number(total), oldestAgeMs: oldest === null ? undefined : Math.max(0, Number(oldest)) };
    },
    onWake,
  };
}

interface Front {
  readonly of: readonly ShardLease[];
  readonly perShard: number;
  readonly limit: number;
}

function byId(a: StoredRow, b: StoredRow): number {
  return Number(BigInt(a.row_id) - BigInt(b.row_id));
}

function fence(leases: readonly ShardLease[]): unknown[] {
  return [leases.map(({ shard }) => shard), leases.map(({ epoch }) => epoch)];
}

function verdicts(rows: readonly RowSettlement[]): unknown[] {
  return [
    rows.map(({ kind }) => kind),
    rows.map(({ reason }) => reason ?? ''),
    rows.map(({ delayMs }) => delayMs ?? 0),
  ];
}

interface Pending {
  readonly due: boolean;
  readonly total: string;
  readonly oldest_age_ms: string | null;
}

/** Numbers and times arrive as text, whatever parsers the caller registered with package `pg`. */
interface StoredRow {
  readonly row_id: string;
  readonly shard: string;
  readonly source: string;
  readonly shape: string | null;
  readonly topic: string;
  readonly message_id: string;
  readonly key: string | null;
  readonly dedupe_key: string | null;
  readonly lane: string;
  readonly headers: string | null;
  readonly content_type: string;
  readonly body: Buffer;
  readonly delay_ms: string;
  readonly expires_in_ms: string | null;
  readonly attempts: string;
  readonly added_at: string;
  readonly read_at: string;
  readonly published_at: string | null;
}

function toRow(row: StoredRow): OutboxRow {
  if (row.shape === null) throw new Error(`Row ${row.row_id} of the outbox refers to a shape that was deleted.`);
  return {
    rowId: row.row_id,
    shard: Number(row.shard),
    source: row.source,
    shape: row.shape,
    topic: row.topic,
    id: row.message_id,
    key: row.key ?? undefined,
    dedupeKey: row.dedupe_key ?? undefined,
    lane: row.lane as Priority,
    headers: row.headers === null ? {} : (JSON.parse(row.headers) as Headers),
    contentType: row.content_type,
    body: row.body,
    delayMs: Number(row.delay_ms),
    expiresInMs: row.expires_in_ms === null ? undefined : Number(row.expires_in_ms),
    attempts: Number(row.attempts),
    addedAt: Number(row.added_at),
    ...(row.published_at === null ? {} : { publishedAt: Number(row.published_at) }),
    readAt: Number(row.read_at),
  };
}
