/** What comes before the publisher: a payload is checked and encoded, its topic declared, and the message routed. */

import type { Topologies } from '../declare.ts';
import { DEFAULT_TIMEOUT_MS, type Limit } from '../declare-attempt.ts';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { checkOptions, positiveMs, signal } from '../options.ts';
import type { BrokerAdapter, OutboxAddOptions, Topology } from '../port.ts';
import { isOrderedTopic } from '../shape.ts';
import type { Topic } from '../topic.ts';
import { inTime, type Until } from './in-time.ts';
import { MESSAGE_CHECKS, prepare } from './prepare.ts';
import type { Publisher } from './publisher.ts';
import type { Receipt } from './receipt.ts';
import { route } from './route.ts';
import { createTurns } from './turns.ts';

export interface PublishOptions extends OutboxAddOptions {
  /** By then the publish has an outcome. @default 30_000 */
  readonly timeoutMs?: number;
  /** Stops waiting; a message already on its way may still be stored. */
  readonly signal?: AbortSignal;
}

export interface PublishSetup {
  readonly adapter: BrokerAdapter;
  readonly publisher: Publisher;
  readonly topologies: Topologies;
  readonly source: string;
  readonly maxBytes: number;
  /** Whether the client still takes messages. */
  accepts(): boolean;
}
export type Publish = (topic: Topic, payload: unknown, options: PublishOptions | undefined) => Promise<Receipt>;

const PUBLISH_CHECKS = { ...MESSAGE_CHECKS, timeoutMs: positiveMs, signal };

const limitOf = (deadline: number, abort: AbortSignal | undefined): Limit => ({
  timeoutMs: Math.max(0, deadline - Date.now()),
  signal: abort,
  publishing: true,
});

export function createPublish({ adapter, publisher, topologies, source, maxBytes, accepts }: PublishSetup): Publish {
  const turns = createTurns();

  async function publish(topic: Topic, payload: unknown, options: PublishOptions | undefined): Promise<Receipt> {
    if (options !== undefined) checkOptions('publish', options, PUBLISH_CHECKS);
    if (!accepts()) throw new HoldfastError('client-closed', 'The message was not sent: the client is closed');
    const until = { deadline: Date.now() + (options?.timeoutMs ?? DEFAULT_TIMEOUT_MS), signal: options?.signal };
    const preparing = prepare(topic, payload, options, maxBytes);
    // Neither is awaited where it need not be, so that publishes of one tick share a batch.
    let topology = topologies.known(topic);
    const waits = topology === undefined || preparing instanceof Promise;
    const turn = turns.take(topic.name, waits && isOrderedTopic(topic));
    try {
      const prepared = preparing instanceof Promise ? await inTime(topic.name, preparing, until) : preparing;
      if (prepared.delayMs > 0 && adapter.capabilities.delayedPublish === 'none') {
        throw new HoldfastError(
          'unsupported',
          `${adapter.name} cannot delay a publish: leave out delayMs, or use another adapter`,
          { outcome: 'not-sent' },
        );
      }
      let undeclared: unknown;
      if (topology === undefined) ({ topology, undeclared } = await declare(topic, until));
      if (turn !== undefined) await inTime(topic.name, turn.before, until);
      // Not awaited here: the turn ends when the message is in its queue.
      const outgoing = route(prepared, topology, source, Date.now());
      return publisher.publish(outgoing, until.deadline, until.signal, topic, undeclared);
    } finally {
      turn?.leave();
    }
  }

  /** A broker that is away declares nothing: with a spill store, the message goes there as its topic's definition says. */
  async function declare(
    topic: Topic,
    { deadline, signal: abort }: Until,
  ): Promise<{ readonly topology: Topology; readonly undeclared: unknown }> {
    const { spill } = publisher;
    const undeclared = spill?.skipsDeclaring(topic.name);
    if (undeclared !== undefined) return { topology: topologies.of(topic), undeclared };
    try {
      const limit = spill?.limit(limitOf(spill.lastCall(Date.now(), deadline), abort)) ?? limitOf(deadline, abort);
      return { topology: await topologies.declareTopic(topic, limit), undeclared: undefined };
    } catch (error) {
      if (spill === undefined || !isHoldfastError(error) || error.code !== 'publish-timeout') throw error;
      return { topology: topologies.of(topic), undeclared: error };
    }
  }

  return publish;
}
