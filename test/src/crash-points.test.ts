import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readArguments, rotating } from '../crash/args.ts';
import { count } from '../crash/check.ts';
import type { Entry } from '../crash/ledger.ts';
import { numbers } from '../crash/messages.ts';
import { planOf } from '../crash/plan.ts';
import { points } from '../crash/points.ts';

const root = join(import.meta.dirname, '../..');
const names = points.map(({ name }) => name);

/** Names by the calls that hold them: whatever is quoted between `crashPoint(` and its end, but for what it is compared with. */
function namedIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => {
      const text = readFileSync(join(root, folder, name), 'utf8');
      return [...text.matchAll(/\bcrashPoint(?:\?\.)?\(([^;]*?)\);/gs)].flatMap(([, inside]) =>
        [...inside!.matchAll(/'([\w-]+:[\w-]+)'/g)].map(([, point]) => point!),
      );
    });
}

it('S37: every crash point of the sources is in the registry, and every one of the registry in the sources', () => {
  const named = [...namedIn('src'), ...namedIn('adapters'), ...namedIn('test/crash')];
  expect([...new Set(named)].sort()).toEqual([...names].sort());
});

it('S37: no call of a crash point is without a name that the registry can hold', () => {
  for (const folder of ['src', 'adapters']) {
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue;
      const text = readFileSync(join(root, folder, file), 'utf8');
      for (const [call] of text.matchAll(/\bcrashPoint(?:\?\.)?\([^;]*?\);/gs))
        expect(call, file).toMatch(/'[\w-]+:[\w-]+'/);
    }
  }
});

it('S37: no environment variable leads to a crash point', () => {
  for (const folder of ['src', 'adapters']) {
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue;
      const text = readFileSync(join(root, folder, file), 'utf8');
      for (const [, name] of text.matchAll(/\benv(?:ironment|\?)?[.[]['"]?(\w+)/g))
        expect(name, file).not.toMatch(/crash/i);
      // A name by itself, to be looked up elsewhere.
      expect(text.match(/'[A-Z_]*CRASH[A-Z_]*'/), file).toBeNull();
    }
  }
});

it('a name is there once, and says where the process dies', () => {
  expect(new Set(names).size).toBe(names.length);
  for (const { name, where } of points) expect(where.length, name).toBeGreaterThan(10);
});

it('an unknown broker, route, point or seed is refused by what there is', () => {
  const read = (...words: string[]): unknown => readArguments(words, () => '');
  expect(() => read('--broker', 'rabbit')).toThrow(/--broker knows no "rabbit"; it knows sqlite, rabbitmq/);
  expect(() => read('--route', 'post')).toThrow(/--route knows no "post"; it knows direct, outbox, spill/);
  expect(() => read('--store', 'mysql')).toThrow(/--store knows no "mysql"; it knows sqlite, postgres/);
  expect(() => read('--handler', 'all')).toThrow(/--handler knows no "all"; it knows one, batch/);
  expect(() => read('--point', 'relay:confirmd')).toThrow(/--point knows no "relay:confirmd".*relay:confirmed/);
  expect(() => read('--seed', 'x')).toThrow(/--seed takes a whole number/);
  expect(() => read('--sed', '1')).toThrow(/--sed/);
});

it('CI takes SQLite and one of the others, as its commit says', () => {
  const seen = new Set(Array.from({ length: 30 }, (_, n) => rotating(`${n.toString(16).padStart(8, '0')}abc`).join()));
  expect(seen).toEqual(new Set(['sqlite,rabbitmq', 'sqlite,redis', 'sqlite,kafka']));
});

it('each point is tried on each broker that has it, over each route; with "any" over one', () => {
  const urlOf = (): string => '';
  const way = {
    points,
    brokers: ['sqlite', 'redis'],
    storesOf: () => ['sqlite' as const],
    handlers: ['one'],
    seed: 1,
  } as const;
  const all = planOf({ ...way, routes: ['direct', 'outbox', 'spill'] }, urlOf);
  const any = planOf({ ...way, routes: 'any' }, urlOf);
  const own = points
    .filter(({ stores }) => stores === undefined)
    .flatMap(({ brokers }) => ['sqlite', 'redis'].filter((each) => brokers?.some((b) => b === each) ?? true));
  expect(any.length).toBe(own.length);
  expect(all.length).toBeGreaterThan(any.length);
  expect(all.every(({ nth, point }) => nth >= 1 && nth <= (point.hits ?? 1))).toBe(true);
});

it('PostgreSQL has its points and none of the others misses one; batches have those of the consumer alone', () => {
  const named = (...words: string[]): ReadonlySet<string> => {
    const planned = planOf(
      readArguments(words, () => 'abc'),
      () => '',
    );
    return new Set(planned.map(({ point }) => point.name));
  };
  const more = named('--store', 'postgres').difference(named());
  expect(more.size).toBeGreaterThan(0);
  for (const name of more) expect(name).toMatch(/^postgres:/);
  expect(named().difference(named('--store', 'postgres'))).toEqual(new Set());
  const batches = named('--handler', 'batch');
  expect(batches).toContain('consume:handled');
  expect(batches).not.toContain('publish:sending');
});

it('CI tries the PostgreSQL store on the broker that rotates, and some points with batches', () => {
  const planned = planOf(
    readArguments(['--broker', 'ci', '--route', 'any'], () => '1'),
    () => '',
  );
  expect(planned.every(({ broker, store }) => (broker === 'sqlite') === (store === 'sqlite'))).toBe(true);
  expect(new Set(planned.map(({ handler }) => handler))).toEqual(new Set(['one', 'batch']));
});

const by = 'victim';
const GREEN: readonly Entry[] = numbers.flatMap((n): Entry[] => [
  { event: 'begin', n, by },
  { event: 'accepted', n, by },
  { event: 'delivered', group: 'stop', n, id: `m-${n}`, by },
  { event: 'handled', group: 'stop', n, id: `m-${n}`, by },
]);
const counted = (entries: readonly Entry[]): object =>
  count(entries, { effects: [], business: [] }, { workload: 'halt', handler: 'one' });
const without = (event: string, n: number): readonly Entry[] =>
  GREEN.filter((entry) => entry.event !== event || !('n' in entry) || entry.n !== n);

it('the checker is seen to fail: lost, phantom, inverted, dead without reason', () => {
  expect(counted(GREEN)).toMatchObject({ accepted: 12, lost: 0, phantom: 0, inverted: 0, handledAndDead: 0 });
  expect(counted(without('handled', 4))).toMatchObject({ lost: 1 });
  expect(counted(without('begin', 4))).toMatchObject({ phantom: 2 });
  const late = GREEN.filter((entry) => entry.event === 'handled' && entry.n === 4);
  expect(counted([...without('handled', 4), ...late])).toMatchObject({ inverted: 1 });
  expect(counted([...GREEN, { event: 'letters', group: 'stop', ns: [3], places: ['0'], by }])).toMatchObject({
    handledAndDead: 1,
  });
});

it('the checker is seen to fail: doubled in spite of the inbox, or of the dedupe store', () => {
  const effects = [0, 0].map((n) => ({ n, edited: false }));
  expect(count([], { effects, business: [] }, { workload: 'main', handler: 'one' })).toMatchObject({ doubled: 1 });
  const near: Entry[] = [0, 0, 0].map((n) => ({ event: 'handled', group: 'near', n, id: 'm-0', by }));
  expect(count(near, { effects: [], business: [] }, { workload: 'dedupe', handler: 'one' })).toMatchObject({
    doubled: 1,
  });
  const killed: Entry = { event: 'killed', point: 'dedupe:claimed', by };
  expect(
    count([...near.slice(1), killed], { effects: [], business: [] }, { workload: 'dedupe', handler: 'one' }),
  ).toMatchObject({ doubled: 0 });
});
