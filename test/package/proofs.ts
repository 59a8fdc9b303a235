/** docs/proofs.md: each guarantee, rule and trap with the tests that carry its number in their titles. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

const root = join(import.meta.dirname, '../..');
const range = (first: number, last: number): readonly number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

export interface Proofs {
  readonly text: string;
  /** Numbers that no test carries. */
  readonly missing: readonly string[];
}

interface Titled {
  readonly title: string;
  readonly file: string;
}

/** What must be shown. S33 (ids in commit order under concurrent writers of a key) is not built yet. */
const CHAPTERS: readonly { readonly name: string; readonly numbers: readonly string[] }[] = [
  { name: 'Guarantees', numbers: range(1, 10).map((number) => `G${number}`) },
  { name: 'Rules', numbers: range(1, 39).flatMap((number) => (number === 33 ? [] : [`S${number}`])) },
  { name: 'Traps', numbers: [...range(1, 28), ...range(43, 55)].map((number) => `Trap ${number}`) },
];

export function proofs(): Proofs {
  const titles = readTitles();
  const missing: string[] = [];
  const chapters = CHAPTERS.map(({ name, numbers }) => {
    const rows = numbers.map((number) => {
      const own = titles.get(number) ?? [];
      if (own.length === 0) missing.push(number);
      return own.map(({ title, file }, index) => `| ${index === 0 ? number : ''} | ${title} | ${file} |`).join('\n');
    });
    return `## ${name}\n\n| | what is shown | where |\n|---|---|---|\n${rows.join('\n')}\n`;
  });
  const text = `# Which tests show what

Each test is named for what it proves; this list is read from their titles (\`npm run readme\` renews it, and a test fails where it is old or a number has no test). Cases under \`test/conformance/\` run on every adapter that claims the capability.

${chapters.join('\n')}`;
  return { text, missing };
}

/** Titles such as \`'S12: …'\` or \`'Trap 3: …'\`, by number. */
function readTitles(): ReadonlyMap<string, readonly Titled[]> {
  const found = new Map<string, Titled[]>();
  for (const file of readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).toSorted()) {
    if (!file.endsWith('.ts')) continue;
    const source = readFileSync(join(root, 'test', file), 'utf8');
    for (const [, title] of source.matchAll(
      /['"`]((?:[GS]\d+|Trap \d+)(?:, (?:[GS]\d+|Trap \d+))*: (?:[^'"`\\]|\\.)+)['"`]/g,
    )) {
      const [, numbers, promise] = /^(.*?): (.*)$/s.exec(title!)!;
      for (const number of numbers!.split(', ')) {
        const titled = found.get(number) ?? [];
        const path = relative(root, join(root, 'test', file))
          .split(sep)
          .join('/');
        titled.push({ title: plain(promise!), file: `[${path.slice('test/'.length)}](../${path})` });
        found.set(number, titled);
      }
    }
  }
  return found;
}

/** What a title fills in when it runs becomes an ellipsis; a bar would end the table's cell. */
const plain = (title: string): string =>
  title
    .replaceAll(/\$\{[^}]*\}?|%[sdj]/g, '…')
    .replaceAll(/\\(.)/g, '$1')
    .replaceAll('|', '/')
    .replaceAll(/\s+/g, ' ')
    .trim();
