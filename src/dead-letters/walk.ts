import { fromAdapter } from '../errors.ts';
import type { DeadLetterStore, StoredLetter, Topology } from '../port.ts';
import type { Topic } from '../topic.ts';
import { type LetterFilter, matcher } from './filter.ts';

/** What every operation on a group's dead letters knows. */
export interface LettersContext {
  readonly store: DeadLetterStore;
  readonly topic: Topic;
  readonly topology: Topology;
  readonly group: string;
  /** Of the client: who publishes what is edited. */
  readonly source: string;
  readonly maxBytes: number;
  /** Declares the topic, if this client has not yet. */
  readonly ready: () => Promise<unknown>;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
}

const PAGE = 100;

export const nameOf = ({ topic, group }: Pick<LettersContext, 'topic' | 'group'>): string =>
  `group "${group}" of topic "${topic.name}"`;

/** Pages of the letters that match and stand behind `after`. Errors are ours; an abort is the signal's reason. */
export async function* walk(
  context: LettersContext,
  filter: LetterFilter,
  after?: string,
): AsyncGenerator<readonly StoredLetter[]> {
  const { signal } = filter;
  const matches = matcher(filter);
  const wanted = (stored: StoredLetter): boolean => (after === undefined || stored.place > after) && matches(stored);
  try {
    await context.ready();
    for await (const page of context.store.scan({ pageSize: PAGE, signal, after })) {
      signal?.throwIfAborted();
      const letters = page.filter(wanted);
      if (letters.length > 0) yield letters;
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw fromAdapter(error, `read the dead letters of ${nameOf(context)}`);
  }
}

/** What an adapter throws meanwhile, as our own error. */
export async function asked<T>(context: LettersContext, doing: 'count' | 'move', work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fromAdapter(error, `${doing} dead letters of ${nameOf(context)}`);
  }
}
