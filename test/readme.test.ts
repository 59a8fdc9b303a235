import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { proofs } from './package/proofs.ts';
import { withTables } from './package/tables.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

it('the tables of the README are what the code says (npm run readme renews them)', () => {
  expect(readme).toBe(withTables(readme));
});

it('every file that the README links to is there', () => {
  const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path!);
  expect(links.length).toBeGreaterThan(5);
  expect(links.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

it('each guarantee, rule and trap has a test by its number, and docs/proofs.md says which (npm run readme renews it)', () => {
  const { text, missing } = proofs();
  expect(missing).toEqual([]);
  expect(readFileSync(join(root, 'docs/proofs.md'), 'utf8')).toBe(text);
});
