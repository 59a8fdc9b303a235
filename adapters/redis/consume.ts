import { randomUUID } from 'node:crypto';
import type { Receive, Source, Subscription } from '../../src/port.ts';
import { consumeOrdered } from './ordered.ts';
import type { ConsumeNeeds } from './reader.ts';
import { consumeUnordered } from './unordered.ts';

/** Opens a source on connections of its own for blocking reads. */
export function subscribe(
  needs: Omit<ConsumeNeeds, 'consumer'> & { readonly instance: string },
  subscription: Subscription,
  receive: Receive,
): Promise<Source> {
  const consumer = `${needs.instance}.${randomUUID()}`;
  const consume = subscription.ordered ? consumeOrdered : consumeUnordered;
  return consume({ ...needs, consumer }, subscription, receive);
}
