import type { SpillStore } from '../../src/port.ts';
import type { Connection } from './store-connection.ts';
import { insertEntries } from './store-outbox.ts';
import { nowMs } from './store-schema.ts';

/** Messages that wait for their broker: rows of the outbox. A commit is synced to disk; `onAdded` hears of each. */
export function spillStore(connection: Connection, source: string, onAdded: () => void): SpillStore {
  return {
    async add(entries) {
      if (entries.length === 0) return [];
      const rowIds = await connection.write((db) => insertEntries(db, source, entries));
      onAdded();
      return rowIds;
    },
    async left(rows) {
      if (rows.length === 0) return [];
      const rowIds = JSON.stringify(rows.map(({ rowId }) => rowId));
      const found = await connection.read((db) => db.prepare(leftStatement).all(rowIds));
      return found.map((row) => String(row.id));
    },
    async state() {
      const row = (await connection.read((db) => db.prepare(stateStatement).get()))!;
      return {
        rows: Number(row.spilled),
        bytes: Number(row.bytes),
        oldestAgeMs: row.oldest_age_ms === null ? undefined : Math.max(0, Number(row.oldest_age_ms)),
      };
    },
  };
}

const leftStatement = `
  SELECT id FROM holdfast_outbox WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each(?))`;

const stateStatement = `
  SELECT count(*) AS spilled, coalesce(sum(spilled_bytes), 0) AS bytes, ${nowMs} - min(added_at) AS oldest_age_ms
  FROM holdfast_outbox WHERE spilled_bytes IS NOT NULL`;
