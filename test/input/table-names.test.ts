import { readdirSync, readFileSync } from 'node:fs';
import { connect, defineTopic } from 'holdfast';
import { postgresDedupe, postgresStore } from 'holdfast/postgres';
import { sqlite, sqliteStore } from 'holdfast/sqlite';
import { describe, expect, it } from 'vitest';
import { namesOf } from '../../adapters/postgres/names.ts';

const pool = { connect: () => undefined, query: () => undefined };
const stores = [
  ['postgresStore', (options: object) => postgresStore({ pool, ...options } as never)],
  ['postgresDedupe', (options: object) => postgresDedupe({ pool, ...options } as never)],
] as const;

describe.each(stores)('%s', (_, make) => {
  const bad = [
    'o"; DROP TABLE x; --',
    "o'; DROP TABLE x; --",
    'public.x',
    'Orders',
    'ä',
    'a b',
    'a-b',
    'a\0b',
    'a\n',
    '1a',
    'x'.repeat(64),
    7,
    null,
    {},
    ['a'],
  ];
  it.each(bad)('refuses the schema and the prefix %j', (name) => {
    expect(() => make({ schema: name })).toThrow(/"schema" must match/);
    expect(() => make({ prefix: name })).toThrow(/"prefix" must/);
  });
  it('takes 63 characters of the grammar for a schema, 40 for a prefix, so that no index name is cut', () => {
    make({ schema: `_${'a'.repeat(62)}`, prefix: 'a'.repeat(40) });
    expect(() => make({ schema: '' })).toThrow(/"schema"/);
    expect(() => make({ prefix: 'a'.repeat(41) })).toThrow(/"prefix"/);
  });
});

it('names are quoted, the schema apart from the table', () => {
  expect(namesOf('select', 'from_')).toMatchObject({
    outbox: '"select"."from_outbox"',
    inbox: '"select"."from_inbox"',
    quotedSchema: '"select"',
  });
});

/** Names of tables and pieces of SQL that hold no value of a message or user. Whoever adds one says so here. */
const HARMLESS: ReadonlySet<string> = new Set(
  [
    // Tables, quoted by names.ts, whose parts were checked
    'outbox parked shapes leases relays inbox dedupe keysTable messages names.migrations names.outbox names.parked',
    'names.relays names.leases names.shapes names.inbox names.schema names.prefix prefix schema quotedSchema channel table',
    // Lists of columns, parts of statements and clocks: constants of this package
    'columns MESSAGE_COLUMNS messageColumns nowMs from held ready row time ms one haltedMessages haltedKeys removeStatement',
    'summary more.names more.aliases more.source more.arrays haltTables rest insert unlessOthers',
    'parkedPage amongIds movedAndLast releasedColumns',
    // Numbers of this package
    'VERSION shards countedRows PAGE_BYTES Number.MAX_SAFE_INTEGER busyTimeoutMs',
  ].flatMap((line) => line.split(' ')),
);
/** Functions that make such pieces of such pieces. */
const MAKERS = /^(?:after|milliseconds|microseconds|fence|notBehindFailed|insertStatement|pageOf|gone)\(.*\)$/s;
const ARITHMETIC = /^(?:shards|countedRows) [+-] 1$/;
const STATEMENT = /\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|COMMENT ON|LISTEN|NOTIFY|PRAGMA|WITH)\b/;

it('no value is ever put into the text of a statement: values are parameters', () => {
  const found: string[] = [];
  let statements = 0;
  for (const folder of ['postgres', 'sqlite']) {
    const directory = new URL(`../../adapters/${folder}/`, import.meta.url);
    // What topology.ts of sqlite shows is what an operator may type: a name by the grammar, in an error's text.
    for (const file of readdirSync(directory).filter((name) => name.endsWith('.ts'))) {
      for (const [literal] of readFileSync(new URL(file, directory), 'utf8').matchAll(/`(?:[^`\\]|\\.)*`/gs)) {
        if (!STATEMENT.test(literal)) continue;
        statements += 1;
        for (const [, inside = ''] of literal.matchAll(/\$\{([^}]*)\}/g)) {
          if (HARMLESS.has(inside) || MAKERS.test(inside) || ARITHMETIC.test(inside)) continue;
          if (inside === 'topology.topic' && literal.startsWith('`stop its publishers')) continue;
          found.push(`${folder}/${file}: \${${inside}}`);
        }
      }
    }
  }
  expect(statements).toBeGreaterThan(50);
  expect(found).toEqual([]);
});

describe('SQL in a message is a text like any other', () => {
  const nasty = `'); DROP TABLE hf_messages; DELETE FROM holdfast_outbox; -- " \\ $1 ?1 ; %s`;
  const sent = { id: nasty.slice(0, 128), key: nasty, dedupeKey: nasty, headers: { a: nasty } };
  const topic = defineTopic<string>('input.sql', { groups: ['g'] });
  it('in a broker', async () => {
    await using client = await connect({ adapter: sqlite({ path: ':memory:' }) });
    await client.publish(topic, nasty, sent);
    const { promise, resolve } = Promise.withResolvers<object>();
    await client.consume(topic, { group: 'g' }, ({ id, key, dedupeKey, headers, payload }) =>
      resolve({ id, key, dedupeKey, headers, payload }),
    );
    expect(await promise).toEqual({ ...sent, payload: nasty });
  });
  it('in an outbox', async () => {
    const store = sqliteStore({ path: ':memory:' });
    try {
      await store.migrate();
      await store.outbox.transaction((tx) => store.outbox.add(tx, topic, nasty, sent));
      const { relay } = store.outbox;
      const leases = await relay.lease('o', 60_000);
      expect(await relay.read(leases, 10)).toMatchObject([sent]);
      await expect(
        store.outbox.transaction((tx) => store.outbox.add(tx, topic, nasty, sent)),
        'the same id twice',
      ).resolves.toEqual({ id: sent.id });
    } finally {
      await store.close();
    }
  });
});
