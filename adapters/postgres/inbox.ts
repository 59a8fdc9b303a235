import { createHash } from 'node:crypto';
import type { Inbox, InboxClaim } from '../../src/port.ts';
import { explaining } from './errors.ts';
import type { Names } from './names.ts';
import { type PgPool, type PgTransaction, poolSize } from './pool.ts';
import { semaphore } from './semaphore.ts';
import { type Backend, inTransaction, microseconds, type TransactionWatch } from './transaction.ts';

/**
 * Remembers what was handled, in the transaction of the handler's effects.
 *
 * One connection of the pool stays free of handlers, so that what they wait for can still be done. The transaction is
 * READ COMMITTED whatever the database's default: a second run of the same message waits for the first at its claim
 * and then sees what became of it.
 */
export function inboxOf(pool: PgPool, names: Names, watch: TransactionWatch): Inbox<PgTransaction> {
  const maxTransactions = Math.max(1, poolSize(pool) - 1);
  const slots = semaphore(maxTransactions);
  const claim = claimStatement(names);
  const seen = seenStatement(names);
  return {
    kind: 'postgres',
    maxTransactions,
    async run(claims, signal, work) {
      const leave = await slots.enter(signal);
      try {
        const options = { pool, signal, watch, begin: 'BEGIN ISOLATION LEVEL READ COMMITTED' };
        return await inTransaction(options, async (tx, identify) => {
          const { claimed, backend } = await claimAll(tx, claim, claims, names);
          if (backend !== undefined) identify(backend);
          signal.throwIfAborted();
          if (claimed.length > 0) await work(tx, claimed);
          return claimed;
        });
      } finally {
        leave();
      }
    },
    async seen(claims) {
      if (claims.length === 0) return [];
      const { rows } = await explaining(names, pool.query<{ seen: boolean }>(seen, columnsOf(claims)));
      return rows.map((row) => row.seen);
    },
  };
}

interface Claimed {
  readonly claimed: readonly number[];
  readonly backend: Backend | undefined;
}

async function claimAll(
  tx: PgTransaction,
  statement: string,
  claims: readonly InboxClaim[],
  names: Names,
): Promise<Claimed> {
  // Of two equal claims in one call the first one is it.
  const indexes = new Map<string, number>();
  for (const [index, claim] of claims.entries()) {
    const name = JSON.stringify([claim.group, claim.topic, storedIdentity(claim)]);
    if (!indexes.has(name)) indexes.set(name, index);
  }
  // In the same order everywhere: batches that overlap wait for one another instead of deadlocking.
  const sorted = [...indexes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, index]) => claims[index]!);
  if (sorted.length === 0) return { claimed: [], backend: undefined };
  const { rows } = await explaining(names, tx.query<ClaimRow>(statement, columnsOf(sorted)));
  const [first] = rows;
  return {
    claimed: rows
      .map(({ group, topic, identity }) => indexes.get(JSON.stringify([group, topic, identity]))!)
      .sort((a, b) => a - b),
    backend: first === undefined ? undefined : { pid: first.pid, startedAt: first.started_at },
  };
}

interface ClaimRow {
  readonly group: string;
  readonly topic: string;
  readonly identity: string;
  readonly pid: string;
  readonly started_at: string;
}

const claimStatement = ({ inbox }: Names): string => `
  INSERT INTO ${inbox} ("group", topic, identity)
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
  ON CONFLICT DO NOTHING
  RETURNING "group", topic, identity, pg_backend_pid()::text AS pid,
    ${microseconds('transaction_timestamp()')} AS started_at`;

const seenStatement = ({ inbox }: Names): string => `
  SELECT EXISTS (
    SELECT FROM ${inbox} AS handled
    WHERE handled."group" = claim."group" AND handled.topic = claim.topic AND handled.identity = claim.identity
  ) AS seen
  FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS claim ("group", topic, identity, place)
  ORDER BY claim.place`;

function columnsOf(claims: readonly InboxClaim[]): unknown[] {
  return [claims.map(({ group }) => group), claims.map(({ topic }) => topic), claims.map(storedIdentity)];
}

/** An index entry holds at most a third of a page, so a long identity is known by its hash. */
function storedIdentity({ identity }: InboxClaim): string {
  if (identity.length <= 400) return identity;
  return `sha256:${createHash('sha256').update(identity).digest('hex')}`;
}
