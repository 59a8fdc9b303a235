/** Whether what a consumer asks for fits what its inbox and its broker can give. */

import { HoldfastError } from '../errors.ts';
import type { Emitter } from '../events.ts';
import { wholeMs } from '../policy/delays.ts';
import type { BrokerAdapter } from '../port.ts';
import type { ConsumePlan } from './options.ts';

/** S27: only where there is order has a key anything to stand still for. */
export function checkHalts(topic: string, { group, halts }: ConsumePlan, ordered: boolean): void {
  if (halts === undefined || ordered) return;
  throw new HoldfastError(
    'invalid-option',
    `Group "${group}" of topic "${topic}" is not ordered, so no key of it can stand still: declare it with order: 'key', or leave out onExhausted: 'halt-key'`,
  );
}

/** S25: more handlers than transactions work, but wait. */
export function warnOfInbox(topic: string, { group, inbox, concurrency }: ConsumePlan, emitter: Emitter): void {
  if (inbox === undefined || !(concurrency > inbox.maxTransactions)) return;
  emitter.emit('warning', {
    code: 'inbox-concurrency',
    detail:
      `group "${group}" of topic "${topic}" has a concurrency of ${concurrency}, but its inbox runs ${inbox.maxTransactions} ` +
      `transaction${inbox.maxTransactions === 1 ? '' : 's'} at once: the other handlers wait for one`,
  });
}

/**
 * S22: an ordered group keeps a failing message unsettled from its first attempt to its last. Where the broker takes such
 * a message back, its attempts would begin again. So all waits and one call that runs out of time must fit into half of
 * what the broker allows (the messages behind it wait for as long), and if every call runs out of time, into the whole.
 */
export function checkPatience(
  topic: string,
  { group, retry, timeoutMs }: ConsumePlan,
  { name, capabilities: { consumerTimeoutMs } }: Pick<BrokerAdapter, 'name' | 'capabilities'>,
): void {
  if (consumerTimeoutMs === undefined) return;
  let waitsMs = 0;
  for (let n = 1; n <= retry.delays.times; n += 1) waitsMs += wholeMs(retry.delays.delayMs(n));
  const usualMs = waitsMs + timeoutMs;
  const worstMs = waitsMs + timeoutMs * retry.maxAttempts;
  if (usualMs <= consumerTimeoutMs / 2 && worstMs <= consumerTimeoutMs) return;
  throw new HoldfastError(
    'invalid-option',
    `Group "${group}" of topic "${topic}" is ordered, and its retries may hold a message for ${usualMs} ms (${worstMs} ms if every ` +
      `call runs out of time), but ${name} takes it back after ${consumerTimeoutMs} ms: at most half of that (or all of it) will do. ` +
      'Shorten retry.delays or timeoutMs, or raise the timeout of the broker and tell the adapter',
    { details: { usualMs, worstMs, consumerTimeoutMs } },
  );
}
