import type { DatabaseSync } from 'node:sqlite';
import type { Inbox, InboxClaim } from '../../src/port.ts';
import type { Connection, TransactionWatch } from './store-connection.ts';
import { nowMs } from './store-schema.ts';

/** Remembers what was handled, in the transaction of the handler's effects. One handler at a time: SQLite has one writer. */
export function storeInbox(connection: Connection, watch: TransactionWatch): Inbox<DatabaseSync> {
  return {
    kind: 'sqlite',
    maxTransactions: 1,
    run: (claims, signal, work) =>
      connection.transaction({ signal, watch }, async (tx) => {
        const claimed = claimAll(tx, claims);
        if (claimed.length > 0) await work(tx, claimed);
        return claimed;
      }),
    async seen(claims) {
      if (claims.length === 0) return [];
      const rows = await connection.read((db) => db.prepare(seenStatement).all(JSON.stringify(claims)));
      return rows.map((row) => row.seen === 1);
    },
  };
}

/** Of equal claims in one call the first one is it; those before us committed, since the write lock is ours. */
function claimAll(tx: DatabaseSync, claims: readonly InboxClaim[]): readonly number[] {
  const claim = tx.prepare(
    `INSERT INTO holdfast_inbox ("group", topic, identity, handled_at) VALUES (?, ?, ?, ${nowMs}) ON CONFLICT DO NOTHING`,
  );
  const claimed: number[] = [];
  for (const [index, { group, topic, identity }] of claims.entries()) {
    if (claim.run(group, topic, identity).changes === 1) claimed.push(index);
  }
  return claimed;
}

const seenStatement = `
  SELECT EXISTS (
    SELECT 1 FROM holdfast_inbox AS handled
    WHERE handled."group" = json_extract(claim.value, '$.group') AND handled.topic = json_extract(claim.value, '$.topic')
      AND handled.identity = json_extract(claim.value, '$.identity')
  ) AS seen
  FROM json_each(?) AS claim
  ORDER BY claim.key`;
