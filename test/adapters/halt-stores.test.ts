import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { postgresStore } from '../../adapters/postgres/index.ts';
import { sqliteStore } from '../../adapters/sqlite/index.ts';
import { memoryHalts } from '../../src/index.ts';
import type { HaltStore } from '../../src/port.ts';
import { haltStoreSuite } from '../conformance/index.ts';
import { urlOf } from './conformance-fixture.ts';
import { oneCase } from './one-case.ts';

describe('memory halts', () => {
  const open = async () => {
    const store = memoryHalts();
    return { store, other: store, close: async () => undefined };
  };
  haltStoreSuite({ it, open });
});

describe('sqlite halts', () => {
  haltStoreSuite({
    it: it.concurrent,
    async open() {
      const folder = await mkdtemp(join(tmpdir(), 'holdfast-halts-'));
      const [one, two] = [0, 1].map(() => sqliteStore({ path: join(folder, 'store.db') }));
      await Promise.all([one!.migrate(), two!.migrate()]);
      return {
        store: one!.halts,
        other: two!.halts,
        async close() {
          await one!.close();
          await two!.close();
          await rm(folder, { recursive: true });
        },
      };
    },
  });
});

describe('postgres halts', () => {
  const pool = new pg.Pool({ connectionString: urlOf('postgres'), max: 8 });
  afterAll(() => pool.end());
  async function open(own: pg.Pool = pool) {
    const schema = `halts_${randomBytes(6).toString('hex')}`;
    const [one, two] = [0, 1].map(() => postgresStore({ pool: own, schema, prefix: 'my_' }));
    await Promise.all([one!.migrate(), two!.migrate()]);
    return {
      store: one!.halts,
      other: two!.halts,
      async close() {
        await one!.close();
        await two!.close();
        await pool.query(`DROP SCHEMA "${schema}" CASCADE`);
      },
    };
  }
  haltStoreSuite({ it: it.concurrent, open });

  it('S27: holds whatever the default isolation of the database is', async () => {
    const options = '-c default_transaction_isolation=serializable';
    const strict = new pg.Pool({ connectionString: urlOf('postgres'), max: 8, options });
    const { store, other, close } = await open(strict);
    const key = { group: 'g', topic: 't', key: 'k' };
    const token = '00000000-0000-4000-8000-000000000000';
    await store.halt(key, 'a', token);
    const names = Array.from({ length: 16 }, (_, n) => `m-${n}`);
    await Promise.all(names.map((name, n) => (n % 2 === 0 ? store : other).admit(key, name, token)));
    expect((await store.parked(key, 100))?.messages.toSorted()).toEqual(['a', ...names].toSorted());
    await strict.end();
    await close();
  });
});

describe('the suite of halts notices a store that', () => {
  const sabotages: readonly [string, string, (right: HaltStore) => HaltStore][] = [
    ['forgets', 'stands still', (right) => ({ ...right, halt: async () => undefined })],
    [
      'lets anybody be next',
      'only the first is next',
      (right) => ({ ...right, admit: (key, _, token) => right.admit(key, 'a', token) }),
    ],
    ['never frees a key', 'the key is free', (right) => ({ ...right, through: async () => undefined })],
    [
      'goes on with a release after a failure',
      'ends it',
      (right) => ({
        ...right,
        halt: async (key, message, token) => {
          await right.halt(key, message, token);
          await right.release(key);
        },
      }),
    ],
    [
      'withdraws what is somebody else’s',
      'withdraws',
      (right) => ({ ...right, withdraw: (key, message) => right.through(key, message) }),
    ],
  ];
  it.each(sabotages)('%s', async (_, title, make) => {
    const open = async () => {
      const store = make(memoryHalts());
      return { store, other: store, close: async () => undefined };
    };
    await expect(oneCase(title, (it) => haltStoreSuite({ it, open }))()).rejects.toThrow();
  });
});
