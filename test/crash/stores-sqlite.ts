import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { sqliteDedupe, sqliteStore } from '../../adapters/sqlite/index.ts';
import type { Case } from './case.ts';
import { type Evidence, NOTHING, type Stores } from './stores.ts';

/** Nothing here is unique: an effect that happens twice must show. */
const TABLES = `
  CREATE TABLE IF NOT EXISTS effects (n INTEGER NOT NULL, edited INTEGER NOT NULL, by TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS business (n INTEGER NOT NULL);
`;

/** Files in the case's folder. */
export async function openSqlite({ folder, route }: Case): Promise<Stores> {
  const path = join(folder, 'store.db');
  const store = sqliteStore({ path, source: 'crash' });
  const spill = sqliteStore({ path: join(folder, 'spill.db'), source: 'crash' });
  const dedupe = sqliteDedupe({ path: join(folder, 'dedupe.db'), claimMs: 1_000 });
  await store.migrate();
  if (route === 'spill') await spill.migrate();
  const own = new DatabaseSync(path, { timeout: 10_000 });
  own.exec(TABLES);
  return {
    store,
    spill,
    dedupe,
    async effect(tx, { n, edited }, by) {
      const statement = (tx as DatabaseSync).prepare('INSERT INTO effects (n, edited, by) VALUES (?, ?, ?)');
      statement.run(n, edited ? 1 : 0, by);
    },
    async business(tx, n) {
      (tx as DatabaseSync).prepare('INSERT INTO business (n) VALUES (?)').run(n);
    },
    read: async () => evidenceOf(own),
    async close() {
      own.close();
      await Promise.all([store.close(), spill.close(), dedupe.close()]);
    },
  };
}

export function readSqlite({ folder }: Case): Evidence {
  const path = join(folder, 'store.db');
  if (!existsSync(path)) return NOTHING;
  const db = new DatabaseSync(path, { readOnly: true, timeout: 10_000 });
  try {
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE name = 'business'").all();
    return tables.length === 0 ? NOTHING : evidenceOf(db);
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
