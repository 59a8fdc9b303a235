import type { Message } from '../message.ts';
import type { CallContext, Runner } from './context.ts';
import { process } from './process.ts';

/** One handler call per message. */
export function eachRunner(invoke: (message: Message, context: CallContext) => unknown): Runner {
  return {
    batchSize: 1,
    batchWaitMs: 0,
    async run(batch, context, finished) {
      const work = batch[0]!;
      finished(work, await process(work, { ...context, invoke }));
    },
  };
}
