import { randomUUID } from 'node:crypto';
import type { AdapterHooks, Receive, Source, Subscription } from '../../src/port.ts';
import type { Link, RedisClass } from './connection.ts';
import type { Settings } from './options.ts';
import { consumeOrdered } from './ordered.ts';
import { consumeUnordered } from './unordered.ts';

export interface ConsumeNeeds {
  readonly Client: RedisClass;
  readonly settings: Settings;
  readonly control: Link;
  /** Unique over all processes and subscriptions. */
  readonly consumer: string;
  readonly connectionName: string;
  readonly crashPoint: AdapterHooks['crashPoint'];
}

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
