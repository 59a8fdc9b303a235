import type { DatabaseSync } from 'node:sqlite';
import { adapterError } from './errors.ts';

const VERSION = 2;

/** A message as the broker stores it; the same columns in a group's line and among its dead letters. */
const MESSAGE_COLUMNS = `
  message_id TEXT NOT NULL,
  source TEXT NOT NULL,
  content_type TEXT NOT NULL,
  key TEXT,
  dedupe_key TEXT,
  headers TEXT,
  marks TEXT,
  published_at INTEGER NOT NULL,
  expires_at INTEGER,
  body BLOB NOT NULL`;

/**
 * Places in line are row ids. `due` is 0 for what was never delayed: that needs no clock, so a clock that is set back
 * delays nothing. A message's row never changes while it is delivered: who holds it stands in hf_claims, because
 * SQLite rewrites a whole row, with its body, for each changed column.
 *
 * A claim that outlives its holding (owner 0) says that the message was delivered before. `token` is the count of the
 * owner's claims in unordered groups, and the shard's epoch in ordered ones. A topic's `lanes` is null where nobody has
 * said it yet: in files of version 1.
 */
const TABLES = `
CREATE TABLE IF NOT EXISTS hf_topics (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, lanes INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS hf_groups (
  id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, name TEXT NOT NULL, ordered INTEGER NOT NULL,
  UNIQUE (topic, name)) STRICT;
CREATE TABLE IF NOT EXISTS hf_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  grp INTEGER NOT NULL, lane INTEGER NOT NULL, shard INTEGER NOT NULL,
  due INTEGER NOT NULL, added_at INTEGER NOT NULL, ${MESSAGE_COLUMNS}) STRICT;
CREATE INDEX IF NOT EXISTS hf_line ON hf_messages (grp, lane, shard, due);
CREATE INDEX IF NOT EXISTS hf_due ON hf_messages (grp, due) WHERE due > 0;
CREATE TABLE IF NOT EXISTS hf_claims (
  message INTEGER PRIMARY KEY, grp INTEGER NOT NULL, owner INTEGER NOT NULL, token INTEGER NOT NULL,
  until INTEGER NOT NULL, suspect INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS hf_shards (
  grp INTEGER NOT NULL, shard INTEGER NOT NULL, owner INTEGER NOT NULL, epoch INTEGER NOT NULL,
  until INTEGER NOT NULL, PRIMARY KEY (grp, shard)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hf_owners (
  id INTEGER PRIMARY KEY AUTOINCREMENT, grp INTEGER NOT NULL, instance TEXT NOT NULL,
  host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS hf_dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  grp INTEGER NOT NULL, lane INTEGER NOT NULL, shard INTEGER NOT NULL, dead_at INTEGER NOT NULL, ${MESSAGE_COLUMNS}) STRICT;
CREATE INDEX IF NOT EXISTS hf_dead_group ON hf_dead (grp);
INSERT OR IGNORE INTO hf_meta (name, value) VALUES ('schema', ${VERSION}), ('epoch', 0);
`;

/** Processes of version 1 that have the file open go on: they neither read nor write what is new. */
const UPGRADE_FROM_1 = `
ALTER TABLE hf_topics ADD COLUMN lanes INTEGER;
UPDATE hf_meta SET value = ${VERSION} WHERE name = 'schema';
`;

/** Creates the tables where they are missing, and upgrades those of version 1. To be called inside a write transaction: several processes may start at once. */
export function createTables(db: DatabaseSync, path: string): void {
  db.exec('CREATE TABLE IF NOT EXISTS hf_meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID');
  const found = db.prepare("SELECT value FROM hf_meta WHERE name = 'schema'").get()?.value;
  if (found === VERSION) return;
  if (found === 1) {
    db.exec(UPGRADE_FROM_1);
    return;
  }
  if (found !== undefined) {
    throw adapterError(
      'unsupported',
      `"${path}" has schema version ${found}, this holdfast knows version ${VERSION}: update holdfast in every process that opens it`,
    );
  }
  db.exec(TABLES);
}
