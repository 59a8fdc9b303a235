/** What a publish that was not confirmed is told: each error says what became of the message, and what to do. */

import { fromAdapter, HoldfastError, type PublishFailure, textOf } from '../errors.ts';
import type { Outgoing } from '../port.ts';
import type { Pending } from './queue.ts';

/** Whether it may be stored: an attempt ended without saying, or one is on its way, to the broker or into the spill store. */
export const isOut = (pending: Pending): boolean => pending.maybeStored || pending.inFlight || pending.writing;

/** What a spill store has rejected with may be stored all the same. */
export const isUnsure = (error: unknown): boolean =>
  (error as { readonly outcome?: unknown } | null)?.outcome === 'unknown';

export function lateError(pending: Pending): HoldfastError {
  const { outgoing, lastError } = pending;
  const { id, topology } = outgoing;
  const why = lastError === undefined ? '' : ` (last: ${textOf(lastError)})`;
  const options = { cause: lastError, details: { id, topic: topology.topic } };
  return isOut(pending)
    ? new HoldfastError(
        'publish-unknown',
        `The broker did not confirm message ${id} on "${topology.topic}" in time${why}. It may have been stored: publish again with the same id`,
        options,
      )
    : new HoldfastError(
        'publish-timeout',
        `Message ${id} could not be sent to "${topology.topic}" in time${why}. It was not stored: publish again when the broker is back`,
        options,
      );
}

/** What the last attempt says of itself is not the whole: one before it may have stored the message. */
const outcomeOf = ({ maybeStored }: Pending): PublishFailure => (maybeStored ? 'unknown' : 'not-sent');

export function unroutableError(pending: Pending): HoldfastError {
  const { id, topology } = pending.outgoing;
  return new HoldfastError(
    'unroutable',
    `Message ${id} was refused: no group consumes topic "${topology.topic}". Declare one in defineTopic's groups, or start a consumer first`,
    {
      details: { id, topic: topology.topic },
      outcome: outcomeOf(pending),
    },
  );
}

export function rejectedError(pending: Pending, error: unknown): HoldfastError {
  const { id, topology } = pending.outgoing;
  const { code, message } = fromAdapter(error, `publish message ${id} to "${topology.topic}"`);
  return new HoldfastError(code === 'message-too-large' ? code : 'publish-rejected', message, {
    cause: error,
    details: { id, topic: topology.topic },
    outcome: outcomeOf(pending),
  });
}

export function openError({ id, topology }: Outgoing): HoldfastError {
  return new HoldfastError(
    'circuit-open',
    `Message ${id} was not sent: publishing to "${topology.topic}" keeps failing, so the circuit is open. Try again in a second`,
    {
      details: { id, topic: topology.topic },
    },
  );
}

export function abortError(id: string, signal: AbortSignal, accepted: boolean): HoldfastError {
  return new HoldfastError(
    'publish-aborted',
    `Waiting for the confirm of message ${id} was aborted${accepted ? '; it may have been stored' : ' before it was sent'}`,
    {
      cause: signal.reason,
      details: { id },
      outcome: accepted ? 'unknown' : 'not-sent',
    },
  );
}

export function spillFullError(pending: Pending, maxBytes: number): HoldfastError {
  const { id, topology } = pending.outgoing;
  return new HoldfastError(
    'spill-full',
    `Message ${id} on "${topology.topic}" could not be sent, and the spill store is full (${maxBytes} bytes). Publish again when the broker is back`,
    {
      cause: pending.lastError,
      details: { id, topic: topology.topic, maxBytes },
      outcome: isOut(pending) ? 'unknown' : 'not-sent',
    },
  );
}

export function spillFailedError(pending: Pending, error: unknown): HoldfastError {
  const { id, topology } = pending.outgoing;
  return new HoldfastError(
    'spill-failed',
    `Message ${id} on "${topology.topic}" could not be sent, nor kept in the spill store: ${textOf(error)}`,
    {
      cause: error,
      details: { id, topic: topology.topic },
      outcome: isUnsure(error) || isOut(pending) ? 'unknown' : 'not-sent',
    },
  );
}
