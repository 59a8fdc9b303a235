import { createHash, randomUUID } from 'node:crypto';
import type { DedupeStore } from '../../src/port.ts';
import { checkDedupeOptions, type PostgresDedupeOptions } from './dedupe-options.ts';
import { sqlState } from './errors.ts';
import { insist } from './insist.ts';
import { migrating } from './migrate.ts';
import { type Names, namesOf } from './names.ts';
import { outliveIdleErrors } from './pool.ts';

/** A sweep takes more than was claimed since the last one, so that the table holds one window and little more. */
const SWEEP_EVERY = 200;
const SWEEP_MOST = 500;

/**
 * Remembers handled messages in a table of PostgreSQL (12 and later), for consumers in any number of processes. See
 * {@link DedupeStore}; for effects in this same database an inbox promises more.
 *
 * One statement per call, outside of any transaction, by the database's clock; works behind a transaction pooler. Rows
 * that have run out are removed 500 at a time by one claim in 200.
 */
export function postgresDedupe(options: PostgresDedupeOptions): DedupeStore & {
  /** Creates the table. Idempotent, and safe when several processes run it at once. */
  migrate(): Promise<void>;
  /** Until then an idle connection of the pool that breaks does not end the process. The pool stays open. */
  close(): Promise<void>;
} {
  const { pool, schema, prefix, windowMs, claimMs } = checkDedupeOptions(options);
  const names = namesOf(schema, prefix);
  const statements = statementsOf(names);
  let untilSweep = 1;
  const forget = outliveIdleErrors(pool);

  /** Each statement may be done twice under one token. */
  async function query<Row>(statement: string, values: unknown[]): Promise<readonly Row[]> {
    try {
      return (await insist(() => pool.query<Row>(statement, values))).rows;
    } catch (error) {
      throw explained(error, names);
    }
  }

  async function sweep(): Promise<void> {
    untilSweep -= 1;
    if (untilSweep > 0) return;
    untilSweep = SWEEP_EVERY;
    // What it could not remove the next one will.
    await pool.query(statements.sweep, [SWEEP_MOST]).catch(() => undefined);
  }

  return {
    claimMs,
    async claim(key) {
      const token = randomUUID();
      const rows = await query<{ state: 'new' | 'done' | 'busy' }>(statements.claim, [stored(key), token, claimMs]);
      const state = rows[0]?.state ?? 'busy';
      if (state !== 'new') return { state };
      await sweep();
      return { state, token };
    },
    async commit(key, token) {
      await query(statements.commit, [stored(key), token, windowMs]);
    },
    async release(key, token) {
      await query(statements.release, [stored(key), token]);
    },
    async renew(held) {
      const keys = held.map(({ key }) => stored(key));
      const tokens = held.map(({ token }) => token);
      const rows = await query<{ key: string }>(statements.renew, [keys, tokens, claimMs]);
      const renewed = new Set(rows.map(({ key }) => key));
      return keys.map((key) => renewed.has(key));
    },
    migrate: () =>
      migrating(pool, names, async (tx) => {
        for (const statement of tableOf(names)) await tx.query(statement);
      }),
    async close() {
      forget();
    },
  };
}

const after = (ms: string): string => `clock_timestamp() + ${ms}::double precision * interval '1 millisecond'`;

/** `done` is what was handled; else the row is a claim. `until` ends either. */
function statementsOf({ dedupe }: Names): Readonly<Record<'claim' | 'commit' | 'release' | 'renew' | 'sweep', string>> {
  const insert = `INSERT INTO ${dedupe} AS held (key, token, done, until)`;
  const unlessOthers = `
    ON CONFLICT (key) DO UPDATE SET token = excluded.token, done = excluded.done, until = excluded.until
      WHERE held.until <= clock_timestamp() OR (NOT held.done AND held.token = excluded.token)`;
  return {
    // Somebody whose row this statement does not see, or sees as run out, has come between: that is busy, never done.
    claim: `
      WITH claimed AS (
        ${insert} VALUES ($1, $2, false, ${after('$3')}) ${unlessOthers} RETURNING 1
      )
      SELECT CASE
        WHEN EXISTS (SELECT FROM claimed) THEN 'new'
        WHEN EXISTS (SELECT FROM ${dedupe} WHERE key = $1 AND done AND until > clock_timestamp()) THEN 'done'
        ELSE 'busy'
      END AS state`,
    commit: `${insert} VALUES ($1, $2, true, ${after('$3')}) ${unlessOthers}`,
    // In one order, so that two who renew at once do not wait for each other in turn.
    renew: `
      ${insert}
        SELECT key, token, false, ${after('$3')} FROM unnest($1::text[], $2::uuid[]) AS kept (key, token) ORDER BY key
      ${unlessOthers} RETURNING key`,
    release: `DELETE FROM ${dedupe} WHERE key = $1 AND token = $2 AND NOT done`,
    sweep: `
      DELETE FROM ${dedupe} WHERE key IN (
        SELECT key FROM ${dedupe} WHERE until <= clock_timestamp() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED
      )`,
  };
}

const tableOf = ({ dedupe, prefix }: Names): readonly string[] => [
  `CREATE TABLE IF NOT EXISTS ${dedupe} (
     key text PRIMARY KEY,
     token uuid NOT NULL,
     done boolean NOT NULL,
     until timestamptz NOT NULL
   ) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0)`,
  `CREATE INDEX IF NOT EXISTS "${prefix}dedupe_until" ON ${dedupe} (until)`,
  `COMMENT ON TABLE ${dedupe} IS 'What was handled lately (done), and what is being handled, until when. Owned by holdfast; to have a message handled again, delete its row.'`,
];

/** An index entry holds at most a third of a page, and a text no zero byte: what is long or strange is known by its hash. */
function stored(key: string): string {
  if (/^[\x20-\x7e\n]{1,400}$/.test(key) && !key.startsWith('sha256:')) return key;
  return `sha256:${createHash('sha256').update(JSON.stringify(key)).digest('hex')}`;
}

function explained(error: unknown, { schema, prefix }: Names): unknown {
  const code = sqlState(error);
  if (code !== '42P01' && code !== '3F000') return error;
  const message = `The table "${prefix}dedupe" in schema "${schema}" is missing: call migrate() of the dedupe store first.`;
  return new Error(message, { cause: error });
}
