/** From payload and options to a message in wire form: everything that is checked before anything is sent or stored. */

import { HoldfastError, isHoldfastError, textOf } from '../errors.ts';
import { checkHeaders, checkId, checkKey, newId, noHeaders } from '../message.ts';
import { anything, type Check, checkOptions, durationMs, oneOf, positiveMs } from '../options.ts';
import type { Headers, OutboxAddOptions, Priority } from '../port.ts';
import { hasLanes, isOrderedTopic } from '../shape.ts';
import type { Topic } from '../topic.ts';
import { DEFAULT_MAX_BYTES, encode } from './encode.ts';
import { validate } from './validate.ts';

/** A checked and encoded message that does not yet know its broker. */
export interface Prepared {
  readonly id: string;
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly key: string | undefined;
  readonly dedupeKey: string | undefined;
  readonly lane: Priority;
  readonly headers: Headers;
  readonly delayMs: number;
  readonly expiresInMs: number | undefined;
}

const LANES: readonly string[] = ['high', 'normal', 'low'];

export const MESSAGE_CHECKS: Readonly<Record<keyof OutboxAddOptions, Check>> = {
  id: anything,
  key: anything,
  dedupeKey: anything,
  priority: oneOf('high', 'normal', 'low'),
  delayMs: durationMs,
  expiresInMs: positiveMs,
  headers: anything,
};

/** Synchronous unless the schema is not. Throws HoldfastErrors with outcome `not-sent`, TypeErrors for misuse. */
export function prepare(
  topic: Topic,
  payload: unknown,
  options: OutboxAddOptions | undefined,
  maxBytes: number = DEFAULT_MAX_BYTES,
): Prepared | Promise<Prepared> {
  const valid = validate(topic.name, topic.options.schema, payload);
  if (valid === undefined) return build(topic, payload, options, maxBytes);
  // Encoded now: what the caller changes while the schema is awaited was never checked.
  let built: Prepared;
  try {
    built = build(topic, payload, options, maxBytes);
  } catch (error) {
    return valid.then(() => {
      throw error;
    });
  }
  return valid.then(() => built);
}

function build(topic: Topic, payload: unknown, options: OutboxAddOptions = {}, maxBytes: number): Prepared {
  const { body, contentType } = encode(topic.name, topic.options.codec, payload, topic.options.maxBytes ?? maxBytes);
  const key = options.key === undefined ? ask(topic, 'key', payload) : options.key;
  if (key !== undefined) checkKey(key);
  const dedupeKey = options.dedupeKey === undefined ? ask(topic, 'dedupeKey', payload) : options.dedupeKey;
  if (dedupeKey !== undefined) checkId('dedupeKey', dedupeKey);
  if (options.id !== undefined) checkId('id', options.id);
  checkKeyed(topic, key);
  // Whole milliseconds, as brokers and databases take them.
  const delayMs = Math.ceil(options.delayMs ?? 0);
  if (delayMs > 0 && isOrderedTopic(topic)) {
    throw new HoldfastError(
      'invalid-message',
      `Topic "${topic.name}" has an ordered group: delay and order exclude each other (S14)`,
      {
        details: { field: 'delayMs' },
      },
    );
  }
  return {
    id: options.id ?? newId(),
    body,
    contentType,
    key,
    dedupeKey,
    lane: laneOf(topic, payload, options.priority),
    headers: options.headers === undefined ? noHeaders : checkHeaders(options.headers),
    delayMs,
    expiresInMs: options.expiresInMs === undefined ? undefined : Math.ceil(options.expiresInMs),
  };
}

export function checkKeyed(topic: Topic, key: string | undefined): void {
  if (key !== undefined || !isOrderedTopic(topic)) return;
  throw new HoldfastError(
    'invalid-message',
    `Topic "${topic.name}" has an ordered group, so every message needs a key`,
    { details: { field: 'key' } },
  );
}

/** What a function of the topic's says of a payload. One that throws has refused the message. */
function ask<N extends 'key' | 'dedupeKey' | 'priority'>(topic: Topic, name: N, payload: unknown): Asked<N> {
  const declared = topic.options[name];
  if (typeof declared !== 'function') return undefined as Asked<N>;
  try {
    return (declared as (payload: unknown) => Asked<N>)(payload);
  } catch (error) {
    if (isHoldfastError(error)) throw error;
    throw new HoldfastError(
      'invalid-message',
      `The ${name} function of topic "${topic.name}" threw: ${textOf(error)}`,
      {
        cause: error,
        details: { field: name },
      },
    );
  }
}
type Asked<N> = N extends 'priority' ? Priority : string | undefined;

function laneOf(topic: Topic, payload: unknown, asked: Priority | undefined): Priority {
  if (!hasLanes(topic.options)) {
    if (asked === undefined) return 'normal';
    throw new HoldfastError(
      'invalid-message',
      `Topic "${topic.name}" has no lanes: give it a priority in defineTopic, or publish without one`,
      {
        details: { field: 'priority' },
      },
    );
  }
  const declared = topic.options.priority;
  const lane = asked ?? (typeof declared === 'function' ? ask(topic, 'priority', payload) : declared) ?? 'normal';
  if (!LANES.includes(lane)) {
    throw new HoldfastError(
      'invalid-message',
      `The priority function of topic "${topic.name}" must return 'high', 'normal' or 'low'`,
      {
        details: { field: 'priority' },
      },
    );
  }
  return lane;
}

export function checkAddOptions(options: OutboxAddOptions | undefined): void {
  if (options !== undefined) checkOptions('outbox.add', options, MESSAGE_CHECKS);
}
