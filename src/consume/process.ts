/**
 * The way of a message in, top to bottom: expired? → decode → known? → handle, with immediate retries → settle as done,
 * retry or dead. Every path ends in exactly one settlement, or in none where the source is to give the message back.
 */

import { HoldfastError, isHoldfastError } from '../errors.ts';
import type { Emitter } from '../events.ts';
import { identityOf, type Message } from '../message.ts';
import { wholeMs } from '../policy/delays.ts';
import { withRetries } from '../policy/retry.ts';
import type { Delivery, Headers, SettleOutcome } from '../port.ts';
import type { Topic } from '../topic.ts';
import type { ConsumerBreaker } from './breaker.ts';
import { type Calls, HandlerContext } from './calls.ts';
import { type Decision, decide } from './decide.ts';
import { decode, messageFor } from './decode.ts';
import { claimOf, dedupeName } from './dedupe.ts';
import { handlePlain, handleWithInbox, StoreFailed } from './handle.ts';
import { deadMarks, readProgress, retryMarks } from './marks.ts';
import type { ConsumePlan } from './options.ts';
import type { Settler } from './settle.ts';
import { begin, countAhead } from './suspects.ts';
import type { Work } from './work.ts';

export interface CallContext {
  /** The inbox's transaction; throws once the handler has timed out or been aborted (S24). Undefined without an inbox. */
  readonly tx: unknown;
  readonly signal: AbortSignal;
}

export interface ProcessContext {
  readonly topic: Topic;
  readonly plan: ConsumePlan;
  readonly ordered: boolean;
  readonly stablePositions: boolean;
  readonly calls: Calls;
  readonly settler: Settler;
  readonly emitter: Emitter;
  readonly breaker: ConsumerBreaker | undefined;
  /** Aborts when the consumer stops waiting for handlers. */
  readonly closing: AbortSignal;
  readonly invoke: (message: Message, context: CallContext) => unknown;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  /** Replaces a held delivery's marks on the broker; undefined where it cannot. Never rejects. */
  mark(delivery: Delivery, marks: Headers): Promise<SettleOutcome | undefined>;
  /** Ordered groups keep a key waiting in memory instead of sending its message round (S22). */
  hold(work: Work, delayMs: number): void;
}

/** Whether the key may go on: false while its message is held for a retry. */
export type Finished = boolean;

export const STORE_BACKOFF = { retries: 10, firstMs: 100, factor: 2, maxMs: 5_000, jitter: true };

/** Never rejects. */
export function process(work: Work, context: ProcessContext): Promise<Finished> {
  return guarded(work, context, () => steps(work, context));
}

/** Whatever goes wrong unforeseen, the message is tried again later and its slot is freed. */
export async function guarded(work: Work, context: ProcessContext, run: () => Promise<Finished>): Promise<Finished> {
  try {
    return await run();
  } catch (error) {
    context.emitter.emit('error', { during: `handle a message of group "${context.plan.group}"`, error });
    return retry(work, context, 1_000);
  }
}

async function steps(work: Work, context: ProcessContext): Promise<Finished> {
  const { delivery } = work;
  if (delivery.message.expiresAt !== undefined && delivery.message.expiresAt <= Date.now())
    return expired(work, context);
  const identity =
    identityOf(delivery.message) ??
    (context.stablePositions ? identityOf({ ...delivery.message, id: delivery.position }) : undefined);
  if (identity === undefined && (context.plan.inbox !== undefined || context.plan.dedupe !== undefined)) {
    return dead(
      work,
      context,
      'no-id',
      new Error('the message carries no id, so inbox and dedupe cannot tell it from others'),
    );
  }
  if (work.suspect) {
    const begun = await begin(work, context);
    if (begun === 'exhausted') return dead(work, context, 'crashed', crashedError(work));
    if (begun === 'uncounted') return retry(work, context, 1_000);
    if (begun === 'copied') return true;
  }
  let payload: unknown;
  try {
    const decoded = decode(context.topic, delivery);
    payload = decoded instanceof Promise ? await decoded : decoded;
  } catch (error) {
    return dead(work, context, isHoldfastError(error) ? error.code : 'undecodable', error);
  }
  if (context.plan.dedupe !== undefined && identity !== undefined) return deduped(work, payload, identity, context);
  return attempts(work, payload, identity, context);
}

/** Handles until it succeeds, is to be tried later or is given up. `failed` is a first failure that happened elsewhere (in a batch). */
export async function attempts(
  work: Work,
  payload: unknown,
  identity: string | undefined,
  context: ProcessContext,
  failed?: { readonly error: unknown },
): Promise<Finished> {
  const { plan } = context;
  let decision: Decision | undefined;
  const again = (error: unknown): boolean => {
    if (work.revoked) return false;
    decision = decide(work, error, payload, context);
    return decision.kind === 'immediate';
  };
  try {
    await withRetries(
      (number) =>
        number === 1 && failed !== undefined ? Promise.reject(failed.error) : once(work, payload, identity, context),
      { ...plan.retry.immediate, retries: Number.POSITIVE_INFINITY, jitter: false },
      again,
      context.closing,
    );
    work.handled = true;
  } catch (error) {
    if (work.revoked || context.closing.aborted) return true;
    if (error instanceof StoreFailed) {
      context.emitter.emit('error', { during: `inbox of group "${plan.group}"`, error: error.cause });
      return retry(work, context, 1_000);
    }
    const step = decision ?? decide(work, error, payload, context);
    if (step.kind === 'dead') return dead(work, context, step.reason, error);
    if (step.kind === 'held') {
      if (step.called) work.attempts -= 1;
      return unspent(work, context, step.delayMs);
    }
    return retry(work, context, step.kind === 'delay' ? step.delayMs : 0);
  }
  await context.crashPoint?.('consume:handled');
  return settleDone(work, context);
}

async function once(
  work: Work,
  payload: unknown,
  identity: string | undefined,
  context: ProcessContext,
): Promise<void> {
  const { plan, topic, calls, emitter } = context;
  if (work.suspect) await countAhead(work, context);
  // The wait for a decoder, a dedupe store or a pause may have outlasted the delivery.
  if (work.revoked || context.closing.aborted) throw lostError(topic.name, plan.group);
  context.breaker?.enter(work);
  const call = calls.begin();
  work.onRevoked = () => call.warn(lostError(topic.name, plan.group));
  const startedAt = performance.now();
  work.attempts += 1;
  const attempt = work.attempts;
  const message = messageFor(topic, work.delivery, payload, attempt);
  const invoke = (tx: unknown): unknown => context.invoke(message, new HandlerContext(tx, call));
  try {
    const fresh =
      plan.inbox === undefined
        ? await handlePlain(call, 1, invoke)
        : await withRetries(
            () =>
              handleWithInbox(
                plan.inbox!,
                [{ group: plan.group, topic: topic.name, identity: identity! }],
                call,
                invoke,
              ),
            STORE_BACKOFF,
            (error) => error instanceof StoreFailed && !work.revoked,
            context.closing,
          );
    const names = { topic: topic.name, group: plan.group, id: message.id };
    if (fresh.length > 0) context.breaker?.succeeded(work);
    if (fresh.length === 0) emitter.emit('duplicate', names);
    else if (emitter.listens('handled')) {
      emitter.emit('handled', {
        ...names,
        attempt,
        durationMs: performance.now() - startedAt,
        lane: work.delivery.lane,
      });
    }
  } catch (error) {
    // Neither a store's failure nor our own giving up is the handler's.
    if (error instanceof StoreFailed || context.closing.aborted) work.attempts -= 1;
    else work.firstFailedAt ??= Date.now();
    throw error;
  } finally {
    work.onRevoked = undefined;
    call.end();
  }
}

export const lostError = (topic: string, group: string): HoldfastError =>
  new HoldfastError(
    'handler-aborted',
    `Group "${group}" of topic "${topic}" has lost the message: its connection, lease or partition is gone, or its consumer closes. It comes again`,
  );

const crashedError = ({ attempts }: Work): Error =>
  new Error(`its consumer died while it handled the message, again and again; ${attempts} calls were counted`);

async function deduped(work: Work, payload: unknown, identity: string, context: ProcessContext): Promise<Finished> {
  const { topic, plan, emitter } = context;
  const store = plan.dedupe!;
  const key = dedupeName(plan.group, topic.name, identity);
  let token: string;
  try {
    const claimed = await store.claim(key);
    if (claimed.state === 'busy') return retry(work, context, 1_000);
    if (claimed.state === 'done') {
      emitter.emit('duplicate', {
        topic: topic.name,
        group: plan.group,
        id: work.delivery.message.id ?? work.delivery.position,
      });
      return settleDone(work, context);
    }
    token = claimed.token;
  } catch (error) {
    emitter.emit('error', { during: `dedupe of group "${plan.group}"`, error });
    return retry(work, context, 1_000);
  }
  const claim = claimOf(store, { key, token }, context);
  try {
    return await attempts(work, payload, identity, { ...context, settler: claim.settler });
  } finally {
    await claim.end(work);
  }
}

async function settleDone(work: Work, { settler }: ProcessContext): Promise<Finished> {
  if (work.revoked) return true;
  const settled = settler.settle({ kind: 'done', delivery: work.delivery });
  // Else not awaited: order speaks of successful handlings, so neither the slot nor the key has anything to wait for.
  // But a suspect is counted, and must not come again because the next one has killed the process.
  if (work.suspect) await settled;
  return true;
}

async function retry(work: Work, context: ProcessContext, delayMs: number): Promise<Finished> {
  if (work.revoked) return true;
  if (context.ordered) {
    context.hold(work, wholeMs(delayMs));
    return false;
  }
  await context.settler.settle({
    kind: 'retry',
    delivery: work.delivery,
    delayMs: wholeMs(delayMs),
    marks: retryMarks(work, Date.now()),
  });
  return true;
}

/** Later again with its attempts as they are: what an open breaker does instead of a retry. */
async function unspent(work: Work, context: ProcessContext, delayMs: number): Promise<Finished> {
  if (work.revoked) return true;
  if (context.ordered) {
    context.hold(work, delayMs);
    return false;
  }
  const { delivery } = work;
  const { marks } = delivery.message;
  const same = !work.suspect && work.attempts === readProgress(marks).attempts;
  await context.settler.settle({
    kind: 'retry',
    delivery,
    delayMs,
    marks: same ? marks : retryMarks(work, Date.now()),
  });
  return true;
}

async function dead(work: Work, context: ProcessContext, reason: string, error: unknown): Promise<Finished> {
  if (work.revoked) return true;
  const { plan, topic, settler, emitter } = context;
  const marks = deadMarks({ ...work, reason, error, group: plan.group }, work.delivery, Date.now());
  const outcome = await settler.settle({ kind: 'dead', delivery: work.delivery, marks });
  if (outcome === 'settled') {
    const id = work.delivery.message.id ?? work.delivery.position;
    emitter.emit('dead-lettered', {
      topic: topic.name,
      group: plan.group,
      id,
      reason: marks.reason ?? reason,
      attempts: work.attempts,
    });
  }
  return true;
}

async function expired(work: Work, context: ProcessContext): Promise<Finished> {
  const { topic, plan, settler, emitter } = context;
  if (topic.options.onExpired !== 'drop') {
    return dead(work, context, 'expired', undefined);
  }
  emitter.emit('dropped', {
    topic: topic.name,
    group: plan.group,
    id: work.delivery.message.id ?? work.delivery.position,
    reason: 'expired',
  });
  await settler.settle({ kind: 'done', delivery: work.delivery });
  return true;
}
