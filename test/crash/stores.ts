/** A case's own files: the store with the effects, the spill store, the dedupe store, and notes between its processes. */

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { sqliteDedupe, sqliteStore } from '../../adapters/sqlite/index.ts';
import type { DedupeStore, Store } from '../../src/port.ts';

/** Nothing here is unique: an effect that happens twice must show. */
const TABLES = `
  CREATE TABLE IF NOT EXISTS effects (n INTEGER NOT NULL, edited INTEGER NOT NULL, by TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS business (n INTEGER NOT NULL);
`;

export interface Effect {
  readonly n: number;
  readonly edited: boolean;
}
export interface Evidence {
  readonly effects: readonly Effect[];
  /** Committed in one transaction with an outbox row each. */
  readonly business: readonly number[];
}

export interface Stores {
  readonly store: Store<DatabaseSync>;
  readonly spill: Store<DatabaseSync>;
  readonly dedupe: DedupeStore;
  read(): Evidence;
  close(): Promise<void>;
}

export async function openStores(folder: string, spilling: boolean): Promise<Stores> {
  const path = join(folder, 'store.db');
  const store = sqliteStore({ path, source: 'crash' });
  const spill = sqliteStore({ path: join(folder, 'spill.db'), source: 'crash' });
  const dedupe = sqliteDedupe({ path: join(folder, 'dedupe.db'), claimMs: 1_000 });
  await store.migrate();
  if (spilling) await spill.migrate();
  const own = new DatabaseSync(path, { timeout: 10_000 });
  own.exec(TABLES);
  return {
    store,
    spill,
    dedupe,
    read: () => evidenceOf(own),
    async close() {
      own.close();
      await Promise.all([store.close(), spill.close(), dedupe.close()]);
    },
  };
}

/** By a client of its own, when all is over. */
export function readEvidence(folder: string): Evidence {
  const path = join(folder, 'store.db');
  if (!existsSync(path)) return { effects: [], business: [] };
  const db = new DatabaseSync(path, { readOnly: true, timeout: 10_000 });
  try {
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE name = 'business'").all();
    return tables.length === 0 ? { effects: [], business: [] } : evidenceOf(db);
  } finally {
    db.close();
  }
}

function evidenceOf(db: DatabaseSync): Evidence {
  return {
    effects: db
      .prepare('SELECT n, edited FROM effects ORDER BY rowid')
      .all()
      .map(({ n, edited }) => ({ n: n as number, edited: edited === 1 })),
    business: db
      .prepare('SELECT n FROM business')
      .all()
      .map(({ n }) => n as number),
  };
}

/** What one process leaves for the next. */
export interface Note {
  readonly there: boolean;
  leave(): void;
}
export function noteIn(folder: string, name: string): Note {
  const path = join(folder, name);
  return {
    get there() {
      return existsSync(path);
    },
    leave: () => writeFileSync(path, ''),
  };
}
