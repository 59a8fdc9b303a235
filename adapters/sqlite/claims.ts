import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { MESSAGE_COLUMNS } from './headers.ts';

/** One lane of one shard. */
export interface Line {
  readonly group: number;
  readonly lane: number;
  readonly shard: number;
}

/** Under what a delivery is claimed, and which claims of others it overrules. */
export interface Claim {
  readonly owner: number;
  /** Tells this claim from the owner's earlier ones; in ordered groups the shard's epoch. */
  readonly token: number;
  /** When others may take it, epoch milliseconds; `NEVER` in ordered groups, where the shard's lease decides. */
  readonly until: number;
  /** Claims of a lower token are void: the shard's epoch in ordered groups, else 0. */
  readonly fence: number;
}

export type MessageRow = Readonly<Record<string, SQLOutputValue>>;

export const NEVER: number = Number.MAX_SAFE_INTEGER;

/** Who holds which message. `take` and `extend` belong inside a write step. */
export interface Claims {
  /** Whether anything can be taken. */
  any(line: Line, fence: number, now: number): boolean;
  /** Up to `limit`, what was delayed and is due before what was not, by age each. */
  take(line: Line, claim: Claim, now: number, limit: number): readonly MessageRow[];
  extend(messages: readonly number[], owner: number, until: number): void;
  /** When the next delayed message of the group is due. */
  nextDue(group: number, now: number): number | undefined;
}

export function createClaims(db: DatabaseSync): Claims {
  const from = `FROM hf_messages m LEFT JOIN hf_claims c ON c.message = m.id
    WHERE m.grp = ? AND m.lane = ? AND m.shard = ? AND (c.message IS NULL OR c.owner = 0 OR c.token < ? OR c.until <= ?)`;
  const columns = `m.id, ${MESSAGE_COLUMNS}, c.owner AS claimed_by, c.suspect`;
  const any = db.prepare(`SELECT 1 ${from} AND m.due <= ? LIMIT 1`);
  const delayed = db.prepare(`SELECT ${columns} ${from} AND m.due > 0 AND m.due <= ? ORDER BY m.due, m.id LIMIT ?`);
  const ready = db.prepare(`SELECT ${columns} ${from} AND m.due = 0 ORDER BY m.id LIMIT ?`);
  const claim_ = db.prepare(
    'INSERT OR REPLACE INTO hf_claims (message, grp, owner, token, until, suspect) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const extend = db.prepare(
    'UPDATE hf_claims SET until = ? WHERE message IN (SELECT value FROM json_each(?)) AND owner = ?',
  );
  const nextDue = db.prepare('SELECT min(due) AS due FROM hf_messages WHERE grp = ? AND due > ?');

  return {
    any: ({ group, lane, shard }, fence, now) => any.get(group, lane, shard, fence, now, now) !== undefined,
    take({ group, lane, shard }, { owner, token, until, fence }, now, limit) {
      const rows = delayed.all(group, lane, shard, fence, now, now, limit);
      if (rows.length < limit) rows.push(...ready.all(group, lane, shard, fence, now, limit - rows.length));
      for (const row of rows) {
        claim_.run(row.id!, group, owner, token, until, isSuspect(row) ? 1 : 0);
      }
      return rows;
    },
    extend(messages, owner, until) {
      extend.run(until, JSON.stringify(messages), owner);
    },
    nextDue: (group, now) => (nextDue.get(group, now)?.due as number | null) ?? undefined,
  };
}

/** Delivered before: a claim was left, by one who died with it or gave it back. */
export function isRedelivered(row: MessageRow): boolean {
  return row.claimed_by !== null;
}

/** Its last owner neither settled it nor gave it back; or an earlier one, and nobody has handled it since. */
export function isSuspect(row: MessageRow): boolean {
  return row.suspect === 1 || (row.claimed_by !== null && row.claimed_by !== 0);
}
