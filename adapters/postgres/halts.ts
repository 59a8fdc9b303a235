import type { Halt, HaltedKey, HaltStore } from '../../src/port.ts';
import { explaining } from './errors.ts';
import { insist } from './insist.ts';
import type { Names } from './names.ts';
import type { PgPool, PgTransaction } from './pool.ts';
import { inTransaction } from './transaction.ts';

interface HaltRow {
  readonly key: string;
  readonly halted_at: string;
  readonly releasing: boolean;
  readonly parked: string;
}

/** Keys that stand still, and the order of what waits for each. The row of a key keeps its steps apart. */
export function haltStore(pool: PgPool, names: Names): HaltStore {
  const { haltedKeys: keysTable, haltedMessages: messages } = names;
  const one = '"group" = $1 AND topic = $2 AND key = $3';
  const among = `SELECT key FROM ${keysTable} WHERE "group" = $1 AND topic = $2 AND key = ANY($3::text[])`;
  const lock = `SELECT releasing FROM ${keysTable} WHERE ${one} FOR UPDATE`;
  const park = `
    INSERT INTO ${messages} ("group", topic, key, message, token) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT ("group", topic, key, message) DO UPDATE SET token = excluded.token`;
  const first = `SELECT message FROM ${messages} WHERE ${one} ORDER BY seq LIMIT $4`;
  const free = `
    DELETE FROM ${keysTable} WHERE ${one} AND NOT EXISTS (SELECT FROM ${messages} WHERE ${one})`;
  const summary = `
    SELECT key, releasing, floor(extract(epoch FROM halted_at) * 1000)::bigint::text AS halted_at, (
      SELECT count(*)::text FROM ${messages} AS waiting
      WHERE waiting."group" = halted."group" AND waiting.topic = halted.topic AND waiting.key = halted.key
    ) AS parked
    FROM ${keysTable} AS halted WHERE "group" = $1 AND topic = $2`;

  /** Each step may be done twice. */
  const step = <R>(work: (tx: PgTransaction) => Promise<R>): Promise<R> =>
    explaining(
      names,
      insist(() => inTransaction({ pool, begin: 'BEGIN ISOLATION LEVEL READ COMMITTED' }, work)),
    );
  const read = <Row>(statement: string, values: unknown[]): Promise<readonly Row[]> =>
    explaining(
      names,
      insist(async () => (await pool.query<Row>(statement, values)).rows),
    );

  const remove = (key: HaltedKey, rest: string, values: readonly string[]): Promise<void> =>
    step(async (tx) => {
      await tx.query(lock, named(key));
      await tx.query(`DELETE FROM ${messages} WHERE ${one} AND ${rest}`, [...named(key), ...values]);
      await tx.query(free, named(key));
    });

  return {
    async halted({ group, topic }, keys) {
      const rows = await read<{ key: string }>(among, [group, topic, keys]);
      const halted = new Set(rows.map(({ key }) => key));
      return keys.map((key) => halted.has(key));
    },
    halt: (key, message, token) =>
      step(async (tx) => {
        await tx.query(
          `INSERT INTO ${keysTable} ("group", topic, key) VALUES ($1, $2, $3)
           ON CONFLICT ("group", topic, key) DO UPDATE SET releasing = false`,
          named(key),
        );
        await tx.query(park, [...named(key), message, token]);
      }),
    admit: (key, message, token) =>
      step(async (tx) => {
        const { rows } = await tx.query<{ releasing: boolean }>(lock, named(key));
        const halt = rows[0];
        if (halt === undefined) return 'free';
        await tx.query(park, [...named(key), message, token]);
        if (!halt.releasing) return 'parked';
        const head = await tx.query<{ message: string }>(first, [...named(key), 1]);
        return head.rows[0]?.message === message ? 'next' : 'parked';
      }),
    through: (key, message) => remove(key, 'message = $4', [message]),
    withdraw: (key, message, token) => remove(key, 'message = $4 AND token = $5', [message, token]),
    release: (key) =>
      step(async (tx) => {
        await tx.query(lock, named(key));
        await tx.query(free, named(key));
        const { rows } = await tx.query(
          `UPDATE ${keysTable} SET releasing = true WHERE ${one} RETURNING 1 AS held`,
          named(key),
        );
        return rows.length === 1;
      }),
    async parked(key, limit) {
      // The messages first: those that come in between are the last.
      const waiting = await read<{ message: string }>(first, [...named(key), limit]);
      const [halt] = await read<HaltRow>(`${summary} AND key = $3`, named(key));
      return halt && { ...toHalt(halt), messages: waiting.map(({ message }) => message) };
    },
    async list({ group, topic }) {
      const rows = await read<HaltRow>(`${summary} ORDER BY halted.halted_at, halted.key`, [group, topic]);
      return rows.map(toHalt);
    },
  };
}

const named = ({ group, topic, key }: HaltedKey): string[] => [group, topic, key];

const toHalt = ({ key, halted_at, releasing, parked }: HaltRow): Halt => ({
  key,
  haltedAt: Number(halted_at),
  releasing,
  parked: Number(parked),
});

/** A version of the store's schema. */
export const haltTables = ({ prefix, haltedKeys, haltedMessages }: Names): readonly string[] => [
  `CREATE TABLE ${haltedKeys} (
     "group" text NOT NULL,
     topic text NOT NULL,
     key text NOT NULL,
     releasing boolean NOT NULL DEFAULT false,
     halted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
     PRIMARY KEY ("group", topic, key)
   )`,
  `CREATE TABLE ${haltedMessages} (
     seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     "group" text NOT NULL,
     topic text NOT NULL,
     key text NOT NULL,
     message text NOT NULL,
     token uuid NOT NULL,
     UNIQUE ("group", topic, key, message)
   )`,
  `CREATE INDEX "${prefix}halted_messages_order" ON ${haltedMessages} ("group", topic, key, seq)`,
  `COMMENT ON TABLE ${haltedKeys} IS 'Keys of ordered groups that stand still, until they are released. Owned by holdfast.'`,
  `COMMENT ON TABLE ${haltedMessages} IS 'Which of their messages wait, in order. The messages themselves are dead letters.'`,
];
