import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { sqliteDedupe } from '../../adapters/sqlite/index.ts';
import { dedupeStoreSuite } from '../conformance/index.ts';

describe('sqlite dedupe', () => {
  dedupeStoreSuite({
    it: it.concurrent,
    async open(limits) {
      const folder = await mkdtemp(join(tmpdir(), 'holdfast-dedupe-'));
      const path = join(folder, 'dedupe.db');
      const [store, other] = [sqliteDedupe({ path, ...limits }), sqliteDedupe({ path, ...limits })];
      return {
        store,
        other,
        async stored() {
          const db = new DatabaseSync(path);
          const row = db.prepare('SELECT count(*) AS count FROM holdfast_dedupe').get();
          db.close();
          return Number(row?.count);
        },
        async close() {
          await store.close();
          await other.close();
          await rm(folder, { recursive: true });
        },
      };
    },
  });

  it('closes twice, and refuses afterwards', async () => {
    const store = sqliteDedupe({ path: ':memory:' });
    expect(await store.claim('m')).toMatchObject({ state: 'new' });
    await store.close();
    await store.close();
    await expect(store.claim('m')).rejects.toThrow(/was closed/);
  });

  it('names the wrong option, what it received and what it wanted', () => {
    const make = (options: unknown) => () => sqliteDedupe(options as { path: string });
    expect(make({})).toThrow(/"path"/);
    expect(make({ path: 'x', windowsMs: 3 })).toThrow(/no option "windowsMs"; did you mean "windowMs"/);
    expect(make({ path: 'x', claimMs: -1 })).toThrow(/"claimMs", received -1/);
  });
});
