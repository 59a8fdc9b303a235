import { count, text } from '../options.ts';
import type { StoredLetter } from '../port.ts';
import { checkFilter, type LetterFilter } from './filter.ts';
import { type Letter, letterOf } from './letter.ts';
import { type LettersContext, walk } from './walk.ts';

export interface ListOptions extends LetterFilter {
  /** The `cursor` of the last letter seen: goes on behind it, whether or not that one is still there. */
  readonly after?: string;
  /** At most so many. They are kept in memory where the broker does not sort (RabbitMQ). */
  readonly limit?: number;
}

/** Letters by ascending place. Without a limit, on a broker that does not sort, in the order in which it has them. */
export async function* list(context: LettersContext, options: ListOptions = {}): AsyncGenerator<Letter> {
  checkFilter('list', options, { after: text, limit: count(1) });
  const { after, limit = Number.POSITIVE_INFINITY, ...filter } = options;
  const names = { topic: context.topic.name, group: context.group };
  if (!context.store.sorted && limit !== Number.POSITIVE_INFINITY) {
    for (const stored of await first(context, filter, { after, limit })) yield letterOf(stored, names);
    return;
  }
  let left = limit;
  for await (const page of walk(context, filter, after)) {
    for (const stored of page) {
      yield letterOf(stored, names);
      left -= 1;
      if (left === 0) return;
    }
  }
}

/** The first by place among all, in one scan that is over before the first is handed out. */
async function first(
  context: LettersContext,
  filter: LetterFilter,
  { after, limit }: { readonly after: string | undefined; readonly limit: number },
): Promise<readonly StoredLetter[]> {
  let best: StoredLetter[] = [];
  const cut = (): void => {
    best = best.sort(byPlace).slice(0, limit);
  };
  for await (const page of walk(context, filter, after)) {
    best.push(...page);
    if (best.length >= 2 * limit) cut();
  }
  cut();
  return best;
}

const byPlace = (a: StoredLetter, b: StoredLetter): number => (a.place < b.place ? -1 : 1);
