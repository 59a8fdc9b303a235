import type { SpillState, SpillStore } from '../../src/port.ts';
import type { Additions } from './additions.ts';
import { explaining } from './errors.ts';
import type { Names } from './names.ts';
import { allValues, insertStatement, type MoreColumns } from './outbox.ts';
import type { PgPool } from './pool.ts';
import { inTransaction } from './transaction.ts';

/** Of a spilled message the source is its publisher's, which need not be the store's. */
const SPILLED: MoreColumns = {
  source: 'coalesce(publisher, $3)',
  names: ', published_at, spilled_bytes',
  aliases: ', publisher, published_at, spilled_bytes',
  arrays: ', $18::text[], $19::bigint[], $20::bigint[]',
};

/** Messages that wait for their broker: rows of the outbox, durable as the database commits. */
export function spillStore(pool: PgPool, names: Names, source: string, added: Additions): SpillStore {
  const insert = `${insertStatement(names, SPILLED)} RETURNING id::text AS row_id`;
  const left = `
    SELECT stored.id::text AS row_id
    FROM unnest($1::smallint[], $2::bigint[]) AS asked (shard, id)
    JOIN ${names.outbox} AS stored ON stored.shard = asked.shard AND stored.id = asked.id`;
  const state = `
    SELECT count(*)::text AS rows, coalesce(sum(spilled_bytes), 0)::text AS bytes,
      floor(extract(epoch FROM statement_timestamp() - min(added_at)) * 1000)::bigint::text AS oldest_age_ms
    FROM ${names.outbox} WHERE spilled_bytes IS NOT NULL`;

  const run = <T>(call: Promise<T>): Promise<T> => explaining(names, call);

  return {
    async add(entries) {
      if (entries.length === 0) return [];
      const values = [
        ...allValues(source, entries),
        entries.map((entry) => entry.source),
        entries.map((entry) => entry.publishedAt),
        entries.map((entry) => entry.bytes),
      ];
      // A transaction around one statement: a reply that is lost before COMMIT leaves no doubt.
      const stored = inTransaction({ pool, begin: 'BEGIN', watch: added }, async (tx) => {
        const { rows } = await tx.query<{ row_id: string }>(insert, values);
        added.by(tx);
        return rows.map(({ row_id }) => row_id);
      });
      return await run(stored);
    },
    async left(rows) {
      if (rows.length === 0) return [];
      const values = [rows.map(({ shard }) => shard), rows.map(({ rowId }) => rowId)];
      const found = await run(pool.query<{ row_id: string }>(left, values));
      return found.rows.map(({ row_id }) => row_id);
    },
    async state() {
      const { rows } = await run(pool.query<Stored>(state));
      return toState(rows[0]!);
    },
  };
}

interface Stored {
  readonly rows: string;
  readonly bytes: string;
  readonly oldest_age_ms: string | null;
}

function toState({ rows, bytes, oldest_age_ms: oldest }: Stored): SpillState {
  return {
    rows: Number(rows),
    bytes: Number(bytes),
    oldestAgeMs: oldest === null ? undefined : Math.max(0, Number(oldest)),
  };
}
