import { createHash, randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { postgresDedupe } from '../../adapters/postgres/index.ts';
import { type DedupeLimits, type DedupeUnderTest, dedupeStoreSuite } from '../conformance/index.ts';
import { urlOf } from './conformance-fixture.ts';
import { benchOf } from './redis-harness.ts';

const pool = new pg.Pool({ connectionString: urlOf('postgres'), max: 8 });
afterAll(() => pool.end());
const unique = (): string => `dedupe_${randomBytes(6).toString('hex')}`;

describe('postgres dedupe', () => {
  dedupeStoreSuite({ it: it.concurrent, open: (limits) => inPostgres(limits) });

  async function inPostgres(limits: DedupeLimits, own?: pg.Pool): Promise<DedupeUnderTest & { schema: string }> {
    const schema = unique();
    const store = postgresDedupe({ pool: own ?? pool, schema, prefix: 'my_', ...limits });
    const other = postgresDedupe({ pool: own ?? pool, schema, prefix: 'my_', ...limits });
    await Promise.all([store.migrate(), other.migrate()]);
    return {
      schema,
      store,
      other,
      async stored() {
        const { rows } = await pool.query<{ count: string }>(`SELECT count(*) FROM "${schema}".my_dedupe`);
        return Number(rows[0]!.count);
      },
      async close() {
        await store.close();
        await other.close();
        await pool.query(`DROP SCHEMA "${schema}" CASCADE`);
      },
    };
  }

  it('of many who claim at once one gets it whatever the default isolation of the database is', async () => {
    for (const level of ['repeatable\\ read', 'serializable']) {
      const options = `-c default_transaction_isolation=${level}`;
      const strict = new pg.Pool({ connectionString: urlOf('postgres'), max: 8, options });
      const { store, other, close } = await inPostgres({}, strict);
      for (let round = 0; round < 10; round += 1) {
        const claims = await Promise.all(
          Array.from({ length: 16 }, (_, index) => (index % 2 === 0 ? store : other).claim(`m-${round}`)),
        );
        expect(claims.filter(({ state }) => state === 'new')).toHaveLength(1);
      }
      await strict.end();
      await close();
    }
  });

  it('claims and commits on a new connection when the first reply was lost, and outlives idle ones that break', async () => {
    const bench = benchOf(() => urlOf('postgres'));
    const proxy = await bench.proxy();
    const url = new URL(urlOf('postgres'));
    url.port = new URL(proxy.url).port;
    const shaky = new pg.Pool({ connectionString: url.href, max: 1 });
    const { store, other, schema, close } = await inPostgres({});
    const far = postgresDedupe({ pool: shaky, schema, prefix: 'my_' });
    await far.claim('another');
    proxy.cutNextReply();
    const claim = await far.claim('m');
    if (claim.state !== 'new') throw new Error('its own claim kept it out');
    expect(await store.claim('m')).toEqual({ state: 'busy' });
    proxy.cutNextReply();
    await far.commit('m', claim.token);
    expect(await other.claim('m')).toEqual({ state: 'done' });
    proxy.shut();
    await expect(far.claim('m')).rejects.toThrow();
    proxy.open();
    expect(await far.claim('m')).toEqual({ state: 'done' });
    await shaky.end();
    await far.close();
    await bench.close();
    await close();
  });

  it('never takes a key for another one that it knows by its hash', async () => {
    const { store, close } = await inPostgres({});
    const long = 'x'.repeat(1_000);
    const alike = `sha256:${createHash('sha256').update(JSON.stringify(long)).digest('hex')}`;
    for (const key of [long, alike]) expect(await store.claim(key)).toMatchObject({ state: 'new' });
    await close();
  });

  it('finds what has run out by an index', async () => {
    const { schema, close } = await inPostgres({});
    const { rows } = await pool.query(`SELECT indexdef FROM pg_indexes WHERE schemaname = $1`, [schema]);
    expect(JSON.stringify(rows)).toContain('(until)');
    await close();
  });

  it('says to call migrate() where the table is missing', async () => {
    await expect(postgresDedupe({ pool, schema: unique() }).claim('m')).rejects.toThrow(/call migrate\(\)/);
  });

  it('names the wrong option, what it received and what it wanted', () => {
    const make = (options: unknown) => () => postgresDedupe(options as { pool: pg.Pool });
    expect(make({})).toThrow(/"pool"/);
    expect(make({ pool, claimsMs: 3 })).toThrow(/unknown option "claimsMs"; did you mean "claimMs"/);
    expect(make({ pool, windowMs: 1.5 })).toThrow(/"windowMs" must be a whole number .*received 1.5/);
    expect(make({ pool, schema: 'a"b' })).toThrow(/"schema"/);
    expect(make({ pool, prefix: 'A' })).toThrow(/"prefix"/);
  });
});
