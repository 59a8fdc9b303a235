/**
 * The way of a message in, top to bottom: expired? → decode → known? → handle, with immediate retries → settle as done,
 * retry or dead. Every path ends in exactly one settlement, or in none where the source is to give the message back.
 */

import { isHoldfastError } from '../errors.ts';
import { taken } from '../policy/rate.ts';
import { withRetries } from '../policy/retry.ts';
import { HandlerContext } from './calls.ts';
import type { Finished, ProcessContext } from './context.ts';
import { type Decision, decide } from './decide.ts';
import { decode, messageFor } from './decode.ts';
import { type Claim, claimed } from './dedupe.ts';
import { type Entry, type Halts, parkedName } from './halt.ts';
import { handlePlain, handleWithInbox, StoreFailed } from './handle.ts';
import { dead, expired, HALTED, lostError, retry, settleDone, unspent } from './outcome.ts';
import { begin, countRetry } from './suspects.ts';
import { identified, type Work } from './work.ts';

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
  const identity = identified(work, context);
  const { halts, plan, closing } = context;
  const keyed = halts !== undefined && delivery.message.key !== undefined;
  if (keyed && identity !== undefined) {
    work.parking = { name: parkedName(identity), token: '', entry: 'free' };
    const entry = await entered(work, halts, closing);
    if (entry === undefined || work.revoked) return true;
    await context.crashPoint?.('halt:entered');
    work.parking.entry = entry;
    if (entry === 'parked') return dead(work, context, HALTED, undefined);
  }
  if (delivery.message.expiresAt !== undefined && delivery.message.expiresAt <= Date.now())
    return (await known(work, identity, context)) ? settleDone(work, context) : expired(work, context);
  if (identity === undefined && (plan.inbox !== undefined || plan.dedupe !== undefined || keyed)) {
    return dead(
      work,
      context,
      'no-id',
      new Error('the message carries no id, so inbox, dedupe and halted keys cannot tell it from others'),
    );
  }
  if (work.suspect) {
    const begun = await begin(work, context);
    if (begun === 'exhausted')
      return (await known(work, identity, context))
        ? settleDone(work, context)
        : dead(work, context, 'crashed', crashedError(work));
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

/** Whether the inbox knows it as handled: what comes again, its acknowledgement lost, must not be dead as well. */
async function known(
  { delivery }: Work,
  identity: string | undefined,
  { plan, topic, emitter }: ProcessContext,
): Promise<boolean> {
  if (plan.inbox === undefined || identity === undefined) return false;
  const [seen] = await plan.inbox.seen([{ group: plan.group, topic: topic.name, identity }]);
  if (seen !== true) return false;
  emitter.emit('duplicate', { topic: topic.name, group: plan.group, id: delivery.message.id ?? delivery.position });
  return true;
}

/** Undefined where the consumer closes before the store has answered. */
async function entered(work: Work, halts: Halts, closing: AbortSignal): Promise<Entry | undefined> {
  try {
    return await halts.enter(work);
  } catch (error) {
    if (closing.aborted) return undefined;
    throw error;
  }
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
    if (work.revoked || work.claimLost) return false;
    decision = decide(work, error, payload, context);
    return decision.kind === 'immediate';
  };
  try {
    await withRetries(
      async (number) => {
        if (number === 1 && failed !== undefined) throw failed.error;
        return once(work, number === 1 ? payload : await unspoilt(work, payload, context), identity, context);
      },
      { ...plan.retry.immediate, retries: Number.POSITIVE_INFINITY, jitter: false },
      again,
      context.closing,
    );
    work.handled = true;
  } catch (error) {
    if (work.revoked || context.closing.aborted) return true;
    // Whoever has the claim now decides what becomes of the message.
    if (work.claimLost) return retry(work, context, 1_000);
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

/** The payload for a call after the first, which may have changed it. Decoding has succeeded before; a schema may fail now. */
async function unspoilt(work: Work, payload: unknown, { topic }: ProcessContext): Promise<unknown> {
  try {
    return await decode(topic, work.delivery);
  } catch {
    return payload;
  }
}

async function once(
  work: Work,
  payload: unknown,
  identity: string | undefined,
  context: ProcessContext,
): Promise<void> {
  const { plan, topic, calls, emitter } = context;
  // An immediate retry is a start like any other.
  if (!work.started) await taken(context.rate, context.closing);
  work.started = false;
  if (work.suspect) await countRetry(work, context);
  // The wait for a decoder, a dedupe store or a pause may have outlasted the delivery.
  if (work.revoked || work.claimLost || context.closing.aborted) throw lostError(topic.name, plan.group);
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
                context.crashPoint,
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

async function deduped(work: Work, payload: unknown, identity: string, context: ProcessContext): Promise<Finished> {
  const { topic, plan, emitter } = context;
  let claim: Claim;
  try {
    const answer = await claimed(work, identity, context);
    if (answer === 'busy') return retry(work, context, 1_000);
    if (answer === 'done') {
      emitter.emit('duplicate', {
        topic: topic.name,
        group: plan.group,
        id: work.delivery.message.id ?? work.delivery.position,
      });
      return settleDone(work, context);
    }
    claim = answer;
  } catch (error) {
    emitter.emit('error', { during: `dedupe of group "${plan.group}"`, error });
    return retry(work, context, 1_000);
  }
  try {
    return await attempts(work, payload, identity, { ...context, settler: claim.settler });
  } finally {
    await claim.end(work);
  }
}

const crashedError = ({ attempts }: Work): Error =>
  new Error(`its consumer died while it handled the message, again and again; ${attempts} calls were counted`);
