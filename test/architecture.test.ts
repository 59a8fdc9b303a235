import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const statements = [...text.matchAll(/(?:^|\n)(import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?'([^']+)'/g)];
  const dynamic = [...text.matchAll(/import\('([^']+)'\)/g)];
  return [
    ...statements.map(([, , type, target]) => ({
      file,
      target: resolved(file, target!),
      typeOnly: type !== undefined,
    })),
    ...dynamic.map(([, target]) => ({ file, target: resolved(file, target!), typeOnly: false })),
  ];
}

const resolved = (file: string, target: string): string =>
  target.startsWith('.') ? normalize(relative(root, join(root, dirname(file), target))) : target;

const core = sources('src').flatMap(importsOf);
const adapters = sources('adapters').flatMap(importsOf);

it('reads the imports it judges', () => {
  expect(core.length).toBeGreaterThan(50);
  expect(adapters.length).toBeGreaterThan(50);
  expect(core).toContainEqual({ file: 'src/schemes.ts', target: 'adapters/sqlite/index.ts', typeOnly: false });
});

it('S36: the core imports an adapter in schemes.ts alone, and there only when asked for', () => {
  const crossing = core.filter(({ target }) => target.startsWith('adapters/'));
  expect(new Set(crossing.map(({ file }) => file))).toEqual(new Set(['src/schemes.ts']));
  expect(readFileSync(join(root, 'src/schemes.ts'), 'utf8')).not.toMatch(/^import .*adapters/m);
});

it('the core imports no broker, database or test client', () => {
  const packages = new Set(
    core
      .map(({ target }) => target)
      .filter((target) => !target.startsWith('src/') && !target.startsWith('adapters/') && !target.startsWith('node:')),
  );
  expect(packages).toEqual(new Set(['@standard-schema/spec', 'opossum', 'p-retry']));
});

it('an adapter knows only the port, as types, its own folder and its client', () => {
  const foreign = adapters.filter(({ file, target }) => {
    const own = `adapters/${file.split('/')[1]}/`;
    return (
      (target.startsWith('src/') || target.startsWith('adapters/') || target.startsWith('test/')) &&
      !target.startsWith(own)
    );
  });
  expect(foreign.filter(({ target, typeOnly }) => target !== 'src/port.ts' || !typeOnly)).toEqual([]);
});

it('every broker adapter has the same files', () => {
  for (const name of ['memory', 'sqlite', 'rabbitmq', 'redis', 'kafka']) {
    const files = readdirSync(join(root, 'adapters', name));
    expect(files, name).toEqual(
      expect.arrayContaining(['index.ts', 'publish.ts', 'consume.ts', 'topology.ts', 'headers.ts', 'dead-letters.ts']),
    );
  }
});

it('no import goes round in a circle, in the core or in an adapter, types included', () => {
  const edges = Map.groupBy([...core, ...adapters], ({ file }) => file);
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [[...path.slice(path.indexOf(file)), file].join(' → ')];
    if (done.has(file)) return [];
    const circles = (edges.get(file) ?? []).flatMap(({ target }) => walk(target, [...path, file]));
    done.add(file);
    return circles;
  };
  expect([...edges.keys()].flatMap((file) => walk(file, []))).toEqual([]);
});
