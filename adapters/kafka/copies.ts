import type { BatchAnswer } from './client.ts';
import { type Context, copyDeadline } from './context.ts';
import { chunks, type Item } from './publish.ts';

/** Whether a copy is stored, and why not. */
export type CopyAnswer = Pick<BatchAnswer, 'stored'> & { readonly error?: unknown };

/**
 * Sends records of our own (copies, letters, hops, tombstones), by as many batches as their topics' sizes need. One answer
 * per record, in order; never rejects. Those of one partition are stored in order, but for batches that fail.
 */
export async function sendCopies(context: Context, items: readonly Item[]): Promise<readonly CopyAnswer[]> {
  const answers: CopyAnswer[] = [];
  const numbered = items.map((item, index) => ({ ...item, index }));
  // One call each: a batch that fails is none of the others' business.
  const sending = chunks(numbered, context.topology.batchBytes).map(async ({ topic, partition, items }) => {
    const batch = { topic, partition, records: items.map(({ record }) => record) };
    const [answer] = await context.sender.send([batch], copyDeadline(context));
    for (const { index } of items) answers[index] = answer!;
  });
  await Promise.all(sending);
  return answers;
}
