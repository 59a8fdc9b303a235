import { explaining } from './errors.ts';
import { haltTables } from './halts.ts';
import type { Names } from './names.ts';
import type { PgPool, PgTransaction } from './pool.ts';
import { inTransaction } from './transaction.ts';

/** Shards of every outbox. */
export const shards = 64;

/**
 * Creates the schema and what `create` adds to it, in one transaction.
 *
 * Several processes may run it at once: an advisory lock that ends with the transaction lets one through after the
 * other, so it also works behind a transaction pooler. Without privilege to create schemas it suffices that the schema
 * exists.
 */
export async function migrating(
  pool: PgPool,
  { schema, prefix, quotedSchema }: Names,
  create: (tx: PgTransaction) => Promise<void>,
): Promise<void> {
  await inTransaction({ pool, begin: 'BEGIN ISOLATION LEVEL READ COMMITTED' }, async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`holdfast ${schema}.${prefix}`]);
    // Not IF NOT EXISTS: that asks for the privilege to create before it looks.
    const { rows } = await tx.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema]);
    if (rows.length === 0) await tx.query(`CREATE SCHEMA ${quotedSchema}`);
    await create(tx);
  });
}

/** Creates or upgrades the store's tables. */
export async function migrate(pool: PgPool, names: Names): Promise<void> {
  const migrated = migrating(pool, names, async (tx) => {
    await tx.query(
      `CREATE TABLE IF NOT EXISTS ${names.migrations} (
         version integer PRIMARY KEY,
         applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
       )`,
    );
    const { rows } = await tx.query<{ version: number }>(`SELECT version FROM ${names.migrations}`);
    const applied = new Set(rows.map(({ version }) => Number(version)));
    for (const [index, statements] of versions.entries()) {
      const version = index + 1;
      if (applied.has(version)) continue;
      for (const statement of statements(names)) await tx.query(statement);
      await tx.query(`INSERT INTO ${names.migrations} (version) VALUES ($1)`, [version]);
    }
  });
  await explaining(names, migrated);
}

/** What each version adds, oldest first. A version that was released never changes. */
const versions: readonly ((names: Names) => readonly string[])[] = [
  (names) => [...outboxTables(names), ...leaseTables(names), ...inboxTable(names)],
  (names) => spillColumns(names),
  (names) => haltTables(names),
];

/** The columns of a message, the same in the outbox and among the parked. */
const columns = `
  shard smallint NOT NULL,
  id bigint NOT NULL,
  source text NOT NULL,
  shape uuid NOT NULL,
  topic text NOT NULL,
  message_id text NOT NULL,
  key text,
  dedupe_key text,
  lane text NOT NULL,
  headers json,
  content_type text NOT NULL,
  body bytea NOT NULL,
  delay_ms bigint NOT NULL,
  expires_in_ms bigint,
  attempts integer NOT NULL DEFAULT 0,
  added_at timestamptz NOT NULL DEFAULT clock_timestamp()`;

const outboxTables = ({ schema, prefix, outbox, parked, shapes }: Names): readonly string[] => [
  // Rows are never looked up by id alone, so one index serves the relay's read, its settlements and their uniqueness.
  // One dead tuple per message is all the table ever gets: vacuum by number of rows, since it is near empty at best.
  `CREATE SEQUENCE "${schema}"."${prefix}outbox_id_seq"`,
  `CREATE TABLE ${outbox} (${columns},
     retry_at timestamptz,
     PRIMARY KEY (shard, id)
   ) WITH (
     autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
     autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000,
     toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 2000
   )`,
  `ALTER TABLE ${outbox} ALTER COLUMN id SET DEFAULT nextval('"${schema}"."${prefix}outbox_id_seq"')`,
  `ALTER SEQUENCE "${schema}"."${prefix}outbox_id_seq" OWNED BY ${outbox}.id`,
  // Few rows fail: what holds back the later rows of a key is found here. A long key is cut, as index entries are limited.
  `CREATE INDEX "${prefix}outbox_failed" ON ${outbox} (shard, left(key, 64), id) WHERE retry_at IS NOT NULL`,
  `CREATE TABLE ${parked} (${columns},
     reason text NOT NULL,
     parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
     PRIMARY KEY (id)
   )`,
  // Deliberately not unique: two first users of a shape must not wait for each other's transaction.
  `CREATE TABLE ${shapes} (id uuid NOT NULL, shape text NOT NULL)`,
  `CREATE INDEX "${prefix}outbox_shapes_id" ON ${shapes} (id)`,
  `COMMENT ON TABLE ${outbox} IS 'Messages committed and not yet confirmed by the broker. Owned by holdfast.'`,
  `COMMENT ON COLUMN ${outbox}.shard IS 'Unit of ownership of relays; messages of one key share one.'`,
  `COMMENT ON COLUMN ${outbox}.retry_at IS 'Set once a publish failed: not tried again before; later rows of its topic and key wait behind it.'`,
  `COMMENT ON TABLE ${parked} IS 'Messages that could not be published, and why. Kept until somebody decides.'`,
  `COMMENT ON TABLE ${shapes} IS 'Topologies of topics as their publishers knew them, by hash.'`,
];

const leaseTables = ({ leases, relays }: Names): readonly string[] => [
  `CREATE TABLE ${leases} (
     shard smallint PRIMARY KEY,
     owner text,
     epoch bigint NOT NULL DEFAULT 0,
     until timestamptz NOT NULL DEFAULT '-infinity'
   ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)`,
  `INSERT INTO ${leases} (shard) SELECT generate_series(0, ${shards - 1})`,
  `CREATE TABLE ${relays} (
     owner text PRIMARY KEY,
     until timestamptz NOT NULL
   ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)`,
  `COMMENT ON TABLE ${leases} IS 'Which relay publishes which shard. The epoch rises whenever a shard changes hands.'`,
  `COMMENT ON TABLE ${relays} IS 'Live relays: each gets its share of the shards.'`,
];

const inboxTable = ({ prefix, inbox }: Names): readonly string[] => [
  `CREATE TABLE ${inbox} (
     "group" text NOT NULL,
     topic text NOT NULL,
     identity text NOT NULL,
     handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
     PRIMARY KEY ("group", topic, identity)
   )`,
  // Rows come in the order of their time, so an index of a few pages finds the old ones to delete.
  `CREATE INDEX "${prefix}inbox_handled_at" ON ${inbox} USING brin (handled_at)`,
  `COMMENT ON TABLE ${inbox} IS 'What was handled, per consumer group. Rows may be deleted once no broker, retry or replay can bring the message again.'`,
];

const spillColumns = ({ prefix, outbox, parked }: Names): readonly string[] => [
  `ALTER TABLE ${outbox} ADD COLUMN published_at bigint, ADD COLUMN spilled_bytes bigint`,
  `ALTER TABLE ${parked} ADD COLUMN published_at bigint`,
  // Counts and sums them without reading a message.
  `CREATE INDEX "${prefix}outbox_spilled" ON ${outbox} (added_at, spilled_bytes) WHERE spilled_bytes IS NOT NULL`,
  `COMMENT ON COLUMN ${outbox}.published_at IS 'Of messages published while the broker was away: when, in epoch milliseconds.'`,
  `COMMENT ON COLUMN ${outbox}.spilled_bytes IS 'Of the same: how much they count for.'`,
];
