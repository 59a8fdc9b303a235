import { describe } from '../options.ts';
import type { StoredLetter } from '../port.ts';
import { checkFilter, type LetterFilter } from './filter.ts';
import { reasonOf } from './letter.ts';
import { asked, type LettersContext, walk } from './walk.ts';

/** What letters are counted by. */
export type CountedBy = 'reason' | 'fingerprint' | 'key' | 'host';

const VALUES: Readonly<Record<CountedBy, (stored: StoredLetter) => string | undefined>> = {
  reason: reasonOf,
  fingerprint: ({ message }) => message.marks.fingerprint,
  key: ({ message }) => message.key,
  host: ({ message }) => message.marks.host,
};

export async function count(context: LettersContext, filter: LetterFilter = {}): Promise<number> {
  checkFilter('count', filter);
  if (filter.where === undefined) {
    await context.ready();
    const exact = await asked(context, 'count', () => context.store.count());
    if (exact !== undefined) return exact;
  }
  let total = 0;
  for await (const page of walk(context, filter)) total += page.length;
  return total;
}

/** Letters that have no such value are counted as ''. */
export async function countBy(
  context: LettersContext,
  by: CountedBy,
  filter: LetterFilter = {},
): Promise<Readonly<Record<string, number>>> {
  if (!Object.hasOwn(VALUES, by)) {
    throw new TypeError(`countBy must be one of '${Object.keys(VALUES).join("', '")}', received ${describe(by)}`);
  }
  checkFilter('countBy', filter);
  const totals = new Map<string, number>();
  for await (const page of walk(context, filter)) {
    for (const stored of page) {
      const value = VALUES[by](stored) ?? '';
      totals.set(value, (totals.get(value) ?? 0) + 1);
    }
  }
  return Object.fromEntries([...totals].sort(([, a], [, b]) => b - a));
}
