import type { DatabaseSync } from 'node:sqlite';
import { haltTables } from './store-halts-schema.ts';

/** Shards of every outbox. */
export const shards = 64;

/** Milliseconds by the database's clock; the same within one statement. */
export const nowMs = `CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`;

export const messageColumns = `id, shard, source, shape, topic, message_id, key, dedupe_key, lane, headers, content_type,
  body, delay_ms, expires_in_ms, attempts, added_at, published_at`;

const columns = `
  shard INTEGER NOT NULL,
  source TEXT NOT NULL,
  shape TEXT NOT NULL,
  topic TEXT NOT NULL,
  message_id TEXT NOT NULL,
  key TEXT,
  dedupe_key TEXT,
  lane TEXT NOT NULL,
  headers TEXT,
  content_type TEXT NOT NULL,
  delay_ms INTEGER NOT NULL,
  expires_in_ms INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  added_at INTEGER NOT NULL`;

/** What each version adds, oldest first. A version that was released never changes. */
const versions: readonly string[] = [
  `-- Messages committed and not yet confirmed by the broker. AUTOINCREMENT: an id is never used twice.
   CREATE TABLE holdfast_outbox (
     id INTEGER PRIMARY KEY AUTOINCREMENT, ${columns}, retry_at INTEGER, body BLOB NOT NULL) STRICT;
   -- What holds back the later rows of its topic and key.
   CREATE INDEX holdfast_outbox_failed ON holdfast_outbox (topic, key, id) WHERE retry_at IS NOT NULL;
   -- Messages that could not be published, and why. Kept until somebody decides.
   CREATE TABLE holdfast_outbox_parked (
     id INTEGER PRIMARY KEY, ${columns}, reason TEXT NOT NULL, parked_at INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
   -- Topologies of topics as their publishers knew them, by hash.
   CREATE TABLE holdfast_outbox_shapes (id TEXT PRIMARY KEY, shape TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE holdfast_outbox_leases (
     shard INTEGER PRIMARY KEY, owner TEXT, epoch INTEGER NOT NULL DEFAULT 0, until INTEGER NOT NULL DEFAULT 0) STRICT;
   CREATE TABLE holdfast_outbox_relays (owner TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   -- What was handled, per consumer group.
   CREATE TABLE holdfast_inbox (
     "group" TEXT NOT NULL, topic TEXT NOT NULL, identity TEXT NOT NULL, handled_at INTEGER NOT NULL,
     PRIMARY KEY ("group", topic, identity)) STRICT, WITHOUT ROWID;
   CREATE INDEX holdfast_inbox_handled_at ON holdfast_inbox (handled_at);
   WITH RECURSIVE shard (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM shard WHERE number < ${shards - 1})
   INSERT INTO holdfast_outbox_leases (shard) SELECT number FROM shard;`,
  `-- Of messages that were published while the broker was away: when, and how much they count for.
   ALTER TABLE holdfast_outbox ADD COLUMN published_at INTEGER;
   ALTER TABLE holdfast_outbox ADD COLUMN spilled_bytes INTEGER;
   ALTER TABLE holdfast_outbox_parked ADD COLUMN published_at INTEGER;
   -- Counts and sums them without reading a message.
   CREATE INDEX holdfast_outbox_spilled ON holdfast_outbox (added_at, spilled_bytes) WHERE spilled_bytes IS NOT NULL;`,
  haltTables,
];

/** Creates or upgrades the tables. To be called inside a write transaction: several processes may start at once. */
export function migrateStore(db: DatabaseSync): void {
  db.exec(
    'CREATE TABLE IF NOT EXISTS holdfast_migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT',
  );
  const applied = new Set(
    db
      .prepare('SELECT version FROM holdfast_migrations')
      .all()
      .map((row) => row.version),
  );
  const note = db.prepare(`INSERT INTO holdfast_migrations (version, applied_at) VALUES (?, ${nowMs})`);
  for (const [index, statements] of versions.entries()) {
    if (applied.has(index + 1)) continue;
    db.exec(statements);
    note.run(index + 1);
  }
}
