import type { DatabaseSync } from 'node:sqlite';
import type {
  Headers,
  ParkedFilter,
  ParkedListOptions,
  ParkedMessage,
  ParkedMessages,
  ParkedWhere,
  Priority,
} from '../../src/port.ts';
import type { Connection } from './store-connection.ts';
import { checkDiscard, checkFilter, checkList } from './store-parked-filter.ts';
import { messageColumns } from './store-schema.ts';

const PAGE_ROWS = 100;
const PAGE_BYTES = 4 * 1024 * 1024;

/** Every page is one transaction within one turn of the event loop. Reads take no lock. */
export function parkedMessages(connection: Connection, onReleased: () => void): ParkedMessages {
  async function* list(options: ParkedListOptions = {}): AsyncGenerator<ParkedMessage> {
    checkList('outbox.parked.list()', options);
    const { where, signal, after = '0', limit = Number.POSITIVE_INFINITY } = options;
    let last = after;
    for (let left = limit; left > 0; ) {
      signal?.throwIfAborted();
      connection.refuseInside();
      const asked = pageValues(where, last, null, Math.min(left, PAGE_ROWS));
      const rows = await connection.read((db) => db.prepare(listStatement).all(asked));
      if (rows.length === 0) return;
      last = String(rows.at(-1)!.row_id);
      left -= rows.length;
      yield* rows.map(toMessage);
    }
  }

  /** What is parked while it works is left to the next call, so that it ends also where relays park as fast. */
  async function moveAll(
    { where, signal }: ParkedFilter,
    move: (db: DatabaseSync, ids: string) => void,
    moved: () => void,
  ): Promise<number> {
    signal?.throwIfAborted();
    connection.refuseInside();
    const upTo = (await connection.read((db) => db.prepare(newestStatement).get()))!.id;
    let total = 0;
    for (let last = upTo === null ? undefined : '0'; last !== undefined; ) {
      signal?.throwIfAborted();
      const asked = pageValues(where, last, String(upTo), PAGE_ROWS);
      const ids = await connection.write((db) => {
        const page = db
          .prepare(pageStatement)
          .all(asked)
          .map(({ id }) => String(id));
        if (page.length > 0) move(db, JSON.stringify(page));
        return page;
      });
      total += ids.length;
      if (ids.length > 0) moved();
      last = ids.at(-1);
    }
    return total;
  }

  return {
    list,
    async release(filter = {}) {
      checkFilter('outbox.parked.release()', filter);
      const released = await moveAll(
        filter,
        (db, ids) => {
          db.prepare(releaseStatement).run(ids);
          db.prepare(removeStatement).run(ids);
        },
        onReleased,
      );
      return { released };
    },
    async discard(filter) {
      checkDiscard('outbox.parked.discard()', filter);
      const discarded = await moveAll(
        filter,
        (db, ids) => void db.prepare(removeStatement).run(ids),
        () => undefined,
      );
      return { discarded };
    },
  };
}

const newestStatement = 'SELECT CAST(max(id) AS TEXT) AS id FROM holdfast_outbox_parked';

/** Sizes are known without reading bodies; one that is larger than a page is a page. */
const parkedPage = `
  SELECT id
  FROM (
    SELECT id, sum(size) OVER (ORDER BY id) - size AS before
    FROM (
      SELECT id, length(body) AS size
      FROM holdfast_outbox_parked
      WHERE id > CAST($after AS INTEGER) AND ($upTo IS NULL OR id <= CAST($upTo AS INTEGER))
        AND ($reason IS NULL OR substr(reason, 1, instr(reason || ':', ':') - 1) = $reason)
        AND ($ids IS NULL OR message_id IN (SELECT value FROM json_each($ids)))
        AND ($topic IS NULL OR topic = $topic)
        AND ($key IS NULL OR key = $key)
        AND ($since IS NULL OR parked_at >= $since)
        AND ($before IS NULL OR parked_at < $before)
      ORDER BY id
      LIMIT $most
    )
  )
  WHERE before < ${PAGE_BYTES}`;

const pageStatement = `SELECT CAST(id AS TEXT) AS id FROM (${parkedPage}) AS page ORDER BY page.id`;

const listStatement = `
  SELECT CAST(id AS TEXT) AS row_id, source, topic, message_id, key, lane, headers, content_type, body, reason, attempts,
    expires_in_ms, coalesce(published_at, added_at) AS since, parked_at
  FROM holdfast_outbox_parked
  WHERE id IN (${parkedPage})
  ORDER BY id`;

const amongIds = 'IN (SELECT CAST(value AS INTEGER) FROM json_each(?))';

/** As they were; failed publishes count anew. */
const releasedColumns = messageColumns.replace('attempts', '0');

/** What was spilled counts for its spill again, so that a client that spills sends it. Its size was not kept. */
const releaseStatement = `
  INSERT INTO holdfast_outbox (${messageColumns}, spilled_bytes)
  SELECT ${releasedColumns},
    CASE WHEN published_at IS NOT NULL THEN length(body) + coalesce(length(headers), 0) + 256 END
  FROM holdfast_outbox_parked WHERE id ${amongIds} ORDER BY holdfast_outbox_parked.id`;

const removeStatement = `DELETE FROM holdfast_outbox_parked WHERE id ${amongIds}`;

type Values = Record<string, string | number | null>;

function pageValues(where: ParkedWhere | undefined, after: string, upTo: string | null, most: number): Values {
  const { reason, ids, topic, key, since, before } = where ?? {};
  return {
    after,
    upTo,
    most,
    reason: reason ?? null,
    ids: ids === undefined ? null : JSON.stringify(ids),
    topic: topic ?? null,
    key: key ?? null,
    since: since?.getTime() ?? null,
    before: before?.getTime() ?? null,
  };
}

function toMessage(row: Record<string, unknown>): ParkedMessage {
  const [reason = '', ...error] = String(row.reason).split(':');
  const addedAt = Number(row.since);
  return {
    id: String(row.message_id),
    topic: String(row.topic),
    source: String(row.source),
    key: row.key === null ? undefined : String(row.key),
    priority: row.lane as Priority,
    headers: row.headers === null ? {} : (JSON.parse(String(row.headers)) as Headers),
    contentType: String(row.content_type),
    body: row.body as Uint8Array,
    reason,
    error: error.length === 0 ? undefined : error.join(':').trim(),
    attempts: Number(row.attempts),
    addedAt: new Date(addedAt),
    expiresAt: row.expires_in_ms === null ? undefined : new Date(addedAt + Number(row.expires_in_ms)),
    parkedAt: new Date(Number(row.parked_at)),
    cursor: String(row.row_id),
  };
}
