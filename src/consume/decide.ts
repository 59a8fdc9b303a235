import { DeadLetter, isHoldfastError, RetryLater } from '../errors.ts';
import type { Message } from '../message.ts';
import { nextStep } from '../policy/delays.ts';
import { NotEntered } from './breaker.ts';
import type { ProcessContext } from './context.ts';
import { messageFor } from './decode.ts';
import { StoreFailed } from './handle.ts';
import type { Classified } from './options.ts';
import type { Work } from './work.ts';

/** What follows when a message's handler has failed. */
export type Decision =
  | { readonly kind: 'immediate' }
  | { readonly kind: 'delay'; readonly delayMs: number }
  | { readonly kind: 'dead'; readonly reason: string }
  /** Held by the breaker, or not called: again later, and the call, if there was one, does not count. */
  | { readonly kind: 'held'; readonly delayMs: number; readonly called: boolean };

/** Asked once for each failure. */
export function decide(
  work: Work,
  error: unknown,
  payload: unknown,
  { plan, topic, emitter, breaker }: ProcessContext,
): Decision {
  if (error instanceof StoreFailed) return { kind: 'delay', delayMs: 1_000 };
  if (error instanceof NotEntered) return { kind: 'held', delayMs: error.delayMs, called: false };
  const decision = policy();
  if (emitter.listens('failed')) {
    const id = work.delivery.message.id ?? work.delivery.position;
    emitter.emit('failed', {
      topic: topic.name,
      group: plan.group,
      id,
      attempt: work.attempts,
      error,
      next: decision.kind === 'dead' ? 'dead-letter' : 'retry',
    });
  }
  return decision;

  function policy(): Decision {
    if (error instanceof DeadLetter) return { kind: 'dead', reason: error.reason };
    const message = messageFor(topic, work.delivery, payload, work.attempts);
    let meaning: Classified | undefined;
    if (breaker !== undefined && !(error instanceof RetryLater)) {
      meaning = classified(message);
      const delayMs = meaning === 'dead-letter' ? undefined : breaker.failed(work, error);
      if (delayMs !== undefined) return { kind: 'held', delayMs, called: true };
    }
    const step = nextStep(plan.retry, work.attempts);
    const reason = isHoldfastError(error) && error.code === 'handler-timeout' ? 'timeout' : 'failed';
    if (step.kind === 'exhausted') return { kind: 'dead', reason };
    if (error instanceof RetryLater) return { kind: 'delay', delayMs: error.delayMs };
    return (meaning ?? classified(message)) === 'dead-letter' ? { kind: 'dead', reason } : step;
  }

  function classified(message: Message): Classified {
    try {
      return plan.classify(error, { message, attempts: work.attempts });
    } catch (thrown) {
      emitter.emit('error', { during: `classify an error of group "${plan.group}"`, error: thrown });
      return 'retry';
    }
  }
}
