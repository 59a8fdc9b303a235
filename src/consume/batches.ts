/** One handler call for many messages; one failed message does not fail its batch (S25). */

import { RetryLater } from '../errors.ts';
import type { Message } from '../message.ts';
import { nextStep } from '../policy/delays.ts';
import { withRetries } from '../policy/retry.ts';
import type { CallContext, ProcessContext, Runner } from './context.ts';
import { decode, messageFor } from './decode.ts';
import { type Claim, claimed } from './dedupe.ts';
import { parkedName } from './halt.ts';
import { handlePlain, handleWithInbox, StoreFailed } from './handle.ts';
import type { BatchOptions } from './options.ts';
import { lostError } from './outcome.ts';
import { attempts, guarded, process, STORE_BACKOFF } from './process.ts';
import { identified, type Work } from './work.ts';

type BatchRun = Omit<ProcessContext, 'invoke'>;

export interface BatchContext extends CallContext {
  /** This message has failed, the others have not. With an inbox the transaction is rolled back and the others are handled singly. */
  fail(message: Message, error: unknown): void;
}
export type BatchHandler = (messages: readonly Message[], context: BatchContext) => unknown;

interface Item {
  readonly work: Work;
  readonly payload: unknown;
  readonly identity: string;
  readonly message: Message;
  readonly claim: Claim | undefined;
}

/** Those that the call did not handle: by an error of their own, or for no fault of theirs (undefined). */
type Failures = Map<Item, { readonly error: unknown } | undefined>;

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
      // What may kill its process takes nobody with it.
      if (batch.length === 1 && batch[0]!.suspect) return finished(batch[0]!, await process(batch[0]!, alone));
      const prepared = await Promise.all(batch.map((work) => ready(work, context)));
      const items = prepared.filter((item) => item !== undefined && !item.work.revoked) as readonly Item[];
      // What cannot be handled (expired, undecodable, without id, a duplicate) goes the single way, which says why.
      const refused = batch
        .filter((_, index) => prepared[index] === undefined)
        .map(async (work) => finished(work, await process(work, alone)));
      const failures: Failures = items.length === 0 ? new Map() : await together(items, context, handler);
      // Lost while they were decoded: nothing is called for them, and their claims end.
      for (const item of prepared) if (item?.work.revoked && !items.includes(item)) failures.set(item, undefined);
      if (context.crashPoint !== undefined && items.some((item) => !failures.has(item)))
        await context.crashPoint('consume:handled');
      for (const item of items) {
        if (failures.has(item)) continue;
        const { work, claim } = item;
        work.handled = true;
        if (!work.revoked) void (claim?.settler ?? context.settler).settle({ kind: 'done', delivery: work.delivery });
        await claim?.end(work);
        finished(work, true);
      }
      // One after the other: `concurrency` counts handler calls, also those that pick up what a batch has dropped.
      for (const [item, failed] of failures) finished(item.work, await again(item, failed, alone));
      await Promise.all(refused);
    },
  };
}

function again(
  { work, payload, identity, claim }: Item,
  failed: { readonly error: unknown } | undefined,
  context: ProcessContext,
): Promise<boolean> {
  return guarded(work, context, async () => {
    try {
      return await attempts(
        work,
        payload,
        identity,
        { ...context, settler: claim?.settler ?? context.settler },
        failed,
      );
    } finally {
      await claim?.end(work);
    }
  });
}

async function ready(work: Work, context: BatchRun): Promise<Item | undefined> {
  const { topic, plan, halts } = context;
  const { message } = work.delivery;
  const identity = identified(work, context);
  if (identity === undefined && (plan.inbox !== undefined || plan.dedupe !== undefined)) return undefined;
  if (message.expiresAt !== undefined && message.expiresAt <= Date.now()) return undefined;
  if (halts !== undefined && message.key !== undefined) {
    if (identity === undefined || (await halts.isHalted(work).catch(() => true))) return undefined;
    await context.crashPoint?.('halt:entered');
    work.parking = { name: parkedName(identity), token: '', entry: 'free' };
  }
  try {
    const payload = await decode(topic, work.delivery);
    const claim = plan.dedupe === undefined ? undefined : await claimed(work, identity!, context);
    if (claim === 'done' || claim === 'busy') return undefined;
    return {
      work,
      payload,
      identity: identity ?? '',
      message: messageFor(topic, work.delivery, payload, work.attempts + 1),
      claim,
    };
  } catch {
    return undefined;
  }
}

/** Some messages have failed by `fail()`: their transaction is not committed, and it is no fault of the others. */
class RolledBack extends Error {
  override readonly name: string = 'RolledBack';
}

/** The one call for all. */
async function together(items: readonly Item[], context: BatchRun, handler: BatchHandler): Promise<Failures> {
  const { plan, topic, calls, closing } = context;
  const failures: Failures = new Map();
  const first = items[0]!.work;
  try {
    closing.throwIfAborted();
    context.breaker?.enter(
      first,
      items.map(({ work }) => work),
    );
  } catch {
    // Each is refused by itself then, which puts or gives it back.
    return new Map(items.map((item) => [item, undefined]));
  }
  const startedAt = performance.now();
  const call = calls.begin();
  let over = false;
  for (const { work } of items) {
    work.attempts += 1;
    work.onRevoked = () => {
      if (items.every((item) => item.work.revoked || item.work.claimLost)) call.warn(lostError(topic.name, plan.group));
    };
  }
  const invoke = async (tx: unknown, fresh: readonly number[]): Promise<void> => {
    // A transaction may be tried again: what an earlier try said is void.
    failures.clear();
    const byMessage = new Map(fresh.map((index) => [items[index]!.message, items[index]!]));
    const fail = (message: Message, error: unknown): void => {
      const item = byMessage.get(message);
      if (item === undefined) throw new TypeError('fail() takes a message of this batch');
      if (!over) failures.set(item, { error });
    };
    await handler([...byMessage.keys()], {
      tx,
      fail,
      get signal() {
        return call.signal;
      },
    });
    if (tx !== undefined && failures.size > 0) throw new RolledBack('a message of the batch has failed');
  };
  try {
    const fresh = await (plan.inbox === undefined
      ? handlePlain(call, items.length, invoke)
      : withRetries(
          () => {
            const claims = items.map(({ identity }) => ({ group: plan.group, topic: topic.name, identity }));
            return handleWithInbox(plan.inbox!, claims, call, invoke, context.crashPoint);
          },
          STORE_BACKOFF,
          (error) => error instanceof StoreFailed,
          closing,
        ));
    if (fresh.some((index) => !failures.has(items[index]!))) context.breaker?.succeeded(first);
    tell(items, new Set(fresh), failures, performance.now() - startedAt, context);
  } catch (error) {
    const shared = error instanceof StoreFailed || error instanceof RetryLater || items.length === 1;
    for (const item of items) {
      if (failures.has(item)) continue;
      failures.set(item, shared ? { error } : undefined);
      const { revoked, claimLost } = item.work;
      // What is not ours any more, or not to be, has not failed: the handler was told to stop.
      if (!shared && !(error instanceof RolledBack || revoked || claimLost || closing.aborted))
        failed(item, error, context);
      const held = context.breaker !== undefined && context.breaker.state !== 'closed';
      if (error instanceof StoreFailed || closing.aborted || (!shared && (held || !leavesOne(item.work, context))))
        item.work.attempts -= 1;
    }
  } finally {
    over = true;
    for (const { work } of items) work.onRevoked = undefined;
    call.end();
  }
  for (const [{ work }, failed] of failures) if (failed !== undefined) work.firstFailedAt ??= Date.now();
  return failures;
}

function failed({ work, message }: Item, error: unknown, { topic, plan, emitter }: BatchRun): void {
  const names = { topic: topic.name, group: plan.group, id: message.id };
  emitter.emit('failed', { ...names, attempt: work.attempts, error, next: 'retry' });
}

/** Whether a call of its own is left to the message before it is delayed or given up. Where not, the batch's does not count. */
const leavesOne = (work: Work, { plan }: BatchRun): boolean => nextStep(plan.retry, work.attempts).kind === 'immediate';

function tell(
  items: readonly Item[],
  fresh: ReadonlySet<number>,
  failures: Failures,
  durationMs: number,
  { topic, plan, emitter }: BatchRun,
): void {
  for (const [index, item] of items.entries()) {
    const names = { topic: topic.name, group: plan.group, id: item.message.id };
    if (!fresh.has(index)) emitter.emit('duplicate', names);
    else if (!failures.has(item)) {
      emitter.emit('handled', { ...names, attempt: item.work.attempts, durationMs, lane: item.work.delivery.lane });
    }
  }
}
