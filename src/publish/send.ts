/** One batch on its way: breaker around each call, retries around the batch, decisions per message (S8). */

import { type Breaker, BreakerOpen } from '../policy/circuit-breaker.ts';
import { withRetries } from '../policy/retry.ts';
import type { BrokerAdapter, PublishOutcome } from '../port.ts';
import type { Pending } from './queue.ts';

/** Some messages of a batch may succeed if sent again. */
export class BatchFailed extends Error {
  override readonly name: string = 'BatchFailed';
  readonly outcomes: readonly PublishOutcome[];
  /** Whether the connection is to blame: only such failures count towards opening the breaker. */
  readonly transient: boolean;
  constructor(outcomes: readonly PublishOutcome[], transient: boolean, cause: unknown) {
    super('some messages of a batch were not confirmed', { cause });
    this.outcomes = outcomes;
    this.transient = transient;
  }
}

export interface SendContext {
  readonly adapter: BrokerAdapter;
  readonly breaker: Breaker;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  /** Aborts when the client gives up on what is pending. */
  readonly signal: AbortSignal;
  confirmed(pending: Pending, position: string | undefined): void;
  unroutable(pending: Pending): void;
  rejected(pending: Pending, error: unknown): void;
  /** An attempt failed by the connection. */
  failed(): void;
  onRetry(count: number, attempt: number, error: unknown): void;
}

const BACKOFF = { retries: Number.POSITIVE_INFINITY, firstMs: 20, factor: 2, maxMs: 1_000, jitter: true };

/**
 * Sends until every message has its answer. Messages that nobody waits for any more (their deadline passed), or that were
 * spilled, are not sent again. Never rejects.
 */
export async function send(batch: readonly Pending[], context: SendContext): Promise<void> {
  let open: readonly Pending[] = batch;
  const attempt = async (number: number): Promise<void> => {
    open = open.filter((pending) => !pending.left);
    if (open.length === 0) return;
    if (number > 1) context.onRetry(open.length, number, open[0]?.lastError);
    await context.breaker.fire(async () => {
      const tried = open;
      const outcomes = await publishOnce(tried, context);
      open = tried.filter((pending, index) => !settle(pending, outcomes[index], context));
      if (open.length === 0) return;
      const transient = open.some((pending) => context.adapter.isTransient(pending.lastError));
      if (transient) context.failed();
      throw new BatchFailed(outcomes, transient, open[0]?.lastError);
    });
  };
  const again = (error: unknown): boolean =>
    (error instanceof BatchFailed || error instanceof BreakerOpen) && open.some((pending) => !pending.left);
  try {
    await withRetries(attempt, BACKOFF, again, context.signal);
  } catch (error) {
    // What is left was answered by its deadline, or the client is closing and answers it.
    for (const pending of open) pending.lastError ??= error;
  }
}

async function publishOnce(batch: readonly Pending[], context: SendContext): Promise<readonly PublishOutcome[]> {
  let deadline = 0;
  for (const pending of batch) {
    deadline = Math.max(deadline, pending.deadline);
    pending.inFlight = true;
  }
  const { adapter, crashPoint, signal } = context;
  try {
    if (crashPoint !== undefined) await crashPoint('publish:sending');
    const outgoing = batch.map((pending) => pending.outgoing);
    const outcomes = await adapter.publish(outgoing, { deadline, signal });
    if (crashPoint !== undefined) await crashPoint('publish:answered');
    return outcomes;
  } catch (error) {
    return batch.map(() => ({ kind: 'unknown', error }));
  }
}

/** Whether the message has its final answer. */
function settle(pending: Pending, outcome: PublishOutcome | undefined, context: SendContext): boolean {
  pending.inFlight = false;
  switch (outcome?.kind) {
    case 'confirmed':
      context.confirmed(pending, outcome.position);
      return true;
    case 'unroutable':
      context.unroutable(pending);
      return true;
    case 'rejected':
      pending.lastError = outcome.error;
      if (context.adapter.isTransient(outcome.error)) return false;
      context.rejected(pending, outcome.error);
      return true;
    default:
      pending.maybeStored = true;
      pending.lastError = outcome?.error ?? new Error('the adapter gave no outcome');
      return false;
  }
}
