import { checkFilter, isEmpty, type LetterFilter } from './filter.ts';
import { asked, type LettersContext, walk } from './walk.ts';

/** Removes letters for good, page by page. */
export async function discard(context: LettersContext, filter: LetterFilter): Promise<{ readonly discarded: number }> {
  checkFilter('discard', filter);
  if (isEmpty(filter))
    throw new TypeError('discard needs a filter: { where: { reason } } or { where: { ids } }, with a value');
  let discarded = 0;
  for await (const page of walk(context, filter)) {
    await context.crashPoint?.('discard:moving');
    const outcomes = await asked(context, 'move', () => context.store.discard(page));
    discarded += outcomes.filter((outcome) => outcome === 'settled').length;
    await context.crashPoint?.('discard:moved');
  }
  return { discarded };
}
