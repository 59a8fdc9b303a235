/** Whether what a consumer asks for fits what its inbox and its broker can give. */

import type { Emitter } from '../events.ts';
import type { ConsumePlan } from './options.ts';

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
