import type {
  Headers,
  ParkedFilter,
  ParkedListOptions,
  ParkedMessage,
  ParkedMessages,
  ParkedWhere,
  Priority,
} from '../../src/port.ts';
import { explaining } from './errors.ts';
import { insist } from './insist.ts';
import type { Names } from './names.ts';
import { checkDiscard, checkFilter, checkList } from './parked-filter.ts';
import type { PgPool } from './pool.ts';
import { messageColumns, milliseconds } from './relay-statements.ts';

const PAGE_ROWS = 100;
const PAGE_BYTES = 4 * 1024 * 1024;

/** Every page is one statement, so it is done or not done; messages that move do not pass through this process. */
export function parkedMessages(pool: PgPool, names: Names, onReleased: () => void): ParkedMessages {
  const { parked } = names;
  const page = listStatement(names);
  const release = releaseStatement(names);
  const discard = discardStatement(names);

  const run = <T extends object>(statement: string, values: readonly unknown[]): Promise<readonly T[]> =>
    explaining(
      names,
      insist(async () => (await pool.query<T>(statement, [...values])).rows),
    );

  async function* list(options: ParkedListOptions = {}): AsyncGenerator<ParkedMessage> {
    checkList('outbox.parked.list', options);
    const { where, signal, after = '0', limit = Number.POSITIVE_INFINITY } = options;
    let last = after;
    for (let left = limit; left > 0; ) {
      signal?.throwIfAborted();
      const rows = await run<StoredRow>(page, [last, null, Math.min(left, PAGE_ROWS), ...wanted(where)]);
      if (rows.length === 0) return;
      last = rows.at(-1)!.row_id;
      left -= rows.length;
      yield* rows.map(toMessage);
    }
  }

  /** What is parked while it works is left to the next call, so that it ends also where relays park as fast. */
  async function moveAll(statement: string, { where, signal }: ParkedFilter, moved: () => void): Promise<number> {
    signal?.throwIfAborted();
    const [newest] = await run<{ id: string | null }>(`SELECT max(id)::text AS id FROM ${parked}`, []);
    const upTo = newest!.id;
    let total = 0;
    for (let last: string | null = upTo === null ? null : '0'; last !== null; ) {
      signal?.throwIfAborted();
      const rows: readonly Moved[] = await run<Moved>(statement, [last, upTo, PAGE_ROWS, ...wanted(where)]);
      const count = Number(rows[0]!.moved);
      total += count;
      if (count > 0) moved();
      last = rows[0]!.last;
    }
    return total;
  }

  return {
    list,
    async release(filter = {}) {
      checkFilter('outbox.parked.release', filter);
      return { released: await moveAll(release, filter, onReleased) };
    },
    async discard(filter) {
      checkDiscard('outbox.parked.discard', filter);
      return { discarded: await moveAll(discard, filter, () => undefined) };
    },
  };
}

interface Moved {
  readonly moved: string;
  readonly last: string | null;
}

/** Sizes are known without reading bodies; one that is larger than a page is a page. */
const pageOf = (parked: string): string => `
  page AS MATERIALIZED (
    SELECT id
    FROM (
      SELECT id, sum(size) OVER (ORDER BY id) - size AS before
      FROM (
        SELECT id, octet_length(body)::bigint AS size
        FROM ${parked}
        WHERE id > $1::bigint AND ($2::bigint IS NULL OR id <= $2::bigint)
          AND ($4::text IS NULL OR split_part(reason, ':', 1) = $4)
          AND ($5::text[] IS NULL OR message_id = ANY ($5))
          AND ($6::text IS NULL OR topic = $6)
          AND ($7::text IS NULL OR key = $7)
          AND ($8::bigint IS NULL OR ${milliseconds('parked_at')} >= $8)
          AND ($9::bigint IS NULL OR ${milliseconds('parked_at')} < $9)
        ORDER BY id
        LIMIT $3::bigint
      ) AS found
    ) AS summed
    WHERE before < ${PAGE_BYTES}
  )`;

const listStatement = ({ parked }: Names): string => `
  WITH ${pageOf(parked)}
  SELECT id::text AS row_id, source, topic, message_id, key, lane, headers::text, content_type, body, reason,
    attempts::text, expires_in_ms::text, coalesce(published_at, ${milliseconds('added_at')})::text AS added_at,
    ${milliseconds('parked_at')}::text AS parked_at
  FROM page JOIN ${parked} AS stored USING (id)
  ORDER BY id`;

/** Of two who take the same row, the second finds it gone. */
const gone = (parked: string): string => `${pageOf(parked)},
  gone AS (DELETE FROM ${parked} AS stored USING page WHERE stored.id = page.id RETURNING stored.*)`;
const movedAndLast = 'SELECT (SELECT count(*) FROM gone)::text AS moved, (SELECT max(id) FROM page)::text AS last';

/** As they were; failed publishes count anew. */
const releasedColumns = messageColumns.replace('attempts', '0');

/** What was spilled counts for its spill again, so that a client that spills sends it. Its size was not kept. */
const releaseStatement = ({ parked, outbox }: Names): string => `
  WITH ${gone(parked)},
  back AS (
    INSERT INTO ${outbox} (${messageColumns}, spilled_bytes)
    SELECT ${releasedColumns},
      CASE WHEN published_at IS NOT NULL THEN octet_length(body) + coalesce(octet_length(headers::text), 0) + 256 END
    FROM gone
  )
  ${movedAndLast}`;

const discardStatement = ({ parked }: Names): string => `WITH ${gone(parked)} ${movedAndLast}`;

function wanted({ reason, ids, topic, key, since, before }: ParkedWhere = {}): readonly unknown[] {
  return [reason ?? null, ids ?? null, topic ?? null, key ?? null, since?.getTime() ?? null, before?.getTime() ?? null];
}

/** Numbers and times arrive as text, whatever parsers the caller registered with package `pg`. */
interface StoredRow {
  readonly row_id: string;
  readonly source: string;
  readonly topic: string;
  readonly message_id: string;
  readonly key: string | null;
  readonly lane: string;
  readonly headers: string | null;
  readonly content_type: string;
  readonly body: Buffer;
  readonly reason: string;
  readonly attempts: string;
  readonly expires_in_ms: string | null;
  readonly added_at: string;
  readonly parked_at: string;
}

function toMessage(row: StoredRow): ParkedMessage {
  const [reason = '', ...error] = row.reason.split(':');
  const addedAt = Number(row.added_at);
  return {
    id: row.message_id,
    topic: row.topic,
    source: row.source,
    key: row.key ?? undefined,
    priority: row.lane as Priority,
    headers: row.headers === null ? {} : (JSON.parse(row.headers) as Headers),
    contentType: row.content_type,
    body: row.body,
    reason,
    error: error.length === 0 ? undefined : error.join(':').trim(),
    attempts: Number(row.attempts),
    addedAt: new Date(addedAt),
    expiresAt: row.expires_in_ms === null ? undefined : new Date(addedAt + Number(row.expires_in_ms)),
    parkedAt: new Date(Number(row.parked_at)),
    cursor: row.row_id,
  };
}
