/** One handler call for many messages; one failed message does not fail its batch (S25). */

import { identityOf, type Message } from '../message.ts';
import type { Runner } from './consumer.ts';
import { decode, messageFor } from './decode.ts';
import { handlePlain, handleWithInbox } from './handle.ts';
import type { BatchOptions } from './options.ts';
import { attempts, type CallContext, type ProcessContext, process } from './process.ts';
import type { Work } from './work.ts';

export interface BatchContext extends CallContext {
  /** This message has failed, the others have not. With an inbox the transaction is rolled back and each message handled singly. */
  fail(message: Message, error: unknown): void;
}
export type BatchHandler = (messages: readonly Message[], context: BatchContext) => unknown;

interface Item {
  readonly work: Work;
  readonly payload: unknown;
  readonly identity: string;
  readonly message: Message;
}

export function batchRunner(options: BatchOptions, handler: BatchHandler): Runner {
  const single = (message: Message, context: CallContext): unknown => {
    let failed: { readonly error: unknown } | undefined;
    const fail = (_: Message, error: unknown): void => {
      failed = { error };
    };
    const result = handler([message], { tx: context.tx, signal: context.signal, fail });
    return Promise.resolve(result).then(() => {
      if (failed !== undefined) throw failed.error;
    });
  };

  return {
    batchSize: options.size,
    batchWaitMs: options.waitMs ?? 0,
    async run(batch, context, finished) {
      const alone = { ...context, invoke: single };
      const items: Item[] = [];
      const singles: Work[] = [];
      for (const work of batch) {
        const item = await ready(work, context);
        if (item === undefined) singles.push(work);
        else items.push(item);
      }
      // What cannot be handled (expired, undecodable, without id) goes the single way, which says why.
      const refused = singles.map(async (work) => finished(work, await process(work, alone)));
      const failures = items.length === 0 ? new Map<Item, unknown>() : await together(items, context, handler);
      const rest = items.map(async (item) => {
        const { work, payload, identity } = item;
        if (!failures.has(item)) {
          if (!work.revoked) void context.settler.settle({ kind: 'done', delivery: work.delivery });
          return finished(work, true);
        }
        work.firstFailedAt ??= Date.now();
        return finished(work, await attempts(work, payload, identity, alone, { error: failures.get(item) }));
      });
      await Promise.all([...refused, ...rest]);
    },
  };
}

async function ready(
  work: Work,
  { topic, plan, stablePositions }: Omit<ProcessContext, 'invoke'>,
): Promise<Item | undefined> {
  const { message } = work.delivery;
  const identity = identityOf(message) ?? (stablePositions ? `at:${work.delivery.position}` : undefined);
  if ((identity === undefined && plan.inbox !== undefined) || plan.dedupe !== undefined) return undefined;
  if (message.expiresAt !== undefined && message.expiresAt <= Date.now()) return undefined;
  try {
    const payload = await decode(topic, work.delivery);
    return {
      work,
      payload,
      identity: identity ?? '',
      message: messageFor(topic, work.delivery, payload, work.attempts + 1),
    };
  } catch {
    return undefined;
  }
}

/** The one call for all; which of them failed, and by what. */
async function together(
  items: readonly Item[],
  context: Omit<ProcessContext, 'invoke'>,
  handler: BatchHandler,
): Promise<Map<Item, unknown>> {
  const { plan, topic, calls } = context;
  const failures = new Map<Item, unknown>();
  const call = calls.begin();
  for (const item of items) item.work.attempts += 1;
  const invoke = async (tx: unknown, fresh: readonly number[]): Promise<void> => {
    const byMessage = new Map(fresh.map((index) => [items[index]!.message, items[index]!]));
    const fail = (message: Message, error: unknown): void => {
      const item = byMessage.get(message);
      if (item === undefined) throw new TypeError('fail() takes a message of this batch');
      failures.set(item, error);
    };
    await handler([...byMessage.keys()], {
      tx,
      fail,
      get signal() {
        return call.signal;
      },
    });
    if (tx !== undefined && failures.size > 0) throw failures.values().next().value;
  };
  try {
    if (plan.inbox === undefined) await handlePlain(call, items.length, invoke);
    else {
      const claims = items.map(({ identity }) => ({ group: plan.group, topic: topic.name, identity }));
      await handleWithInbox(plan.inbox, claims, call, invoke);
    }
  } catch (error) {
    // Rolled back, or nobody knows how far it got: each goes on by itself.
    for (const item of items) if (!failures.has(item)) failures.set(item, error);
  } finally {
    call.end();
  }
  return failures;
}
