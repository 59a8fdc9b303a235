import type { DatabaseSync } from 'node:sqlite';
import type { Headers, Settlement, SettleOutcome } from '../../src/port.ts';
import { MESSAGE_COLUMNS, toText } from './headers.ts';
import type { ShardLeases } from './shards.ts';

/** What a delivery's `handle` holds. */
export interface Handle {
  readonly message: number;
  readonly group: number;
  readonly lane: number;
  readonly shard: number;
  readonly owner: number;
  readonly token: number;
  readonly ordered: boolean;
  /** Until it is settled, or known to be lost. */
  open: boolean;
}

/** Settles a batch; inside a write step, so that all of it is one transaction. */
export type SettleBatch = (batch: readonly Settlement[]) => readonly SettleOutcome[];

/** Replaces the marks of a message that stays claimed; inside a write step. */
export type Mark = (handle: Handle, marks: Headers) => SettleOutcome;

export function createMark(db: DatabaseSync, shards: ShardLeases): Mark {
  const mark = db.prepare(
    'UPDATE hf_messages SET marks = ? WHERE id = (SELECT message FROM hf_claims WHERE message = ? AND owner = ? AND token = ?)',
  );
  return ({ message, group, shard, owner, token, ordered }, marks) => {
    if (ordered && !shards.holds(group, shard, owner, token)) return 'stale';
    return mark.run(toText(marks), message, owner, token).changes === 1 ? 'settled' : 'stale';
  };
}

export function createSettle(db: DatabaseSync, shards: ShardLeases): SettleBatch {
  const dropClaim = db.prepare('DELETE FROM hf_claims WHERE message = ? AND owner = ? AND token = ?');
  // Owner 0 keeps the row: it says that the message was delivered before, and whether it is suspect.
  const freeClaim = db.prepare(
    'UPDATE hf_claims SET owner = 0, until = 0 WHERE message = ? AND owner = ? AND token = ?',
  );
  const dropMessage = db.prepare('DELETE FROM hf_messages WHERE id = ?');
  const retry = db.prepare('UPDATE hf_messages SET marks = ?, due = ? WHERE id = ?');
  const columns = MESSAGE_COLUMNS.replace('marks', '?');
  const bury = db.prepare(
    `INSERT INTO hf_dead (grp, lane, shard, dead_at, ${MESSAGE_COLUMNS}) SELECT grp, lane, shard, ?, ${columns} FROM hf_messages WHERE id = ?`,
  );

  return (batch) => {
    const now = Date.now();
    const holding = new Map<string, boolean>();

    function isOurs({ ordered, group, shard, owner, token }: Handle): boolean {
      if (!ordered) return true;
      const id = `${shard}/${token}`;
      const known = holding.get(id) ?? shards.holds(group, shard, owner, token);
      holding.set(id, known);
      return known;
    }

    return batch.map((settlement) => {
      const handle = settlement.delivery.handle as Handle;
      if (!isOurs(handle)) return 'stale';
      const end = settlement.kind === 'give-back' ? freeClaim : dropClaim;
      if (end.run(handle.message, handle.owner, handle.token).changes === 0) return 'stale';
      switch (settlement.kind) {
        case 'done':
          dropMessage.run(handle.message);
          break;
        case 'give-back':
          break;
        case 'retry':
          // A new due time, the old place: in ordered groups what was published later stays behind it once it is due.
          retry.run(
            toText(settlement.marks),
            settlement.delayMs > 0 ? now + Math.ceil(settlement.delayMs) : 0,
            handle.message,
          );
          break;
        case 'dead':
          bury.run(now, toText(settlement.marks), handle.message);
          dropMessage.run(handle.message);
          break;
      }
      return 'settled';
    });
  };
}
