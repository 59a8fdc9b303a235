import type { StandardSchemaV1 } from '@standard-schema/spec';
import { type Codec, jsonCodec } from '../codec.ts';
import { HoldfastError, messageOf } from '../errors.ts';
import { type Message, noHeaders } from '../message.ts';
import type { Delivery, Incoming } from '../port.ts';
import { BYTES, DEFAULT_MAX_BYTES } from '../publish/encode.ts';
import { issuesText } from '../publish/validate.ts';
import type { Topic } from '../topic.ts';

/** The payload of a delivery, decoded and validated; throws a HoldfastError that becomes the dead letter's reason. */
export function decode(topic: Topic, delivery: { readonly message: Pick<Incoming, 'body' | 'contentType'> }): unknown {
  const { body, contentType } = delivery.message;
  const codec = topic.options.codec;
  if (codec === undefined && contentType === BYTES) return check(topic, new Uint8Array(body));
  assertParsable(topic, body);
  let payload: unknown;
  try {
    payload = (codec ?? jsonCodec).decode(body);
  } catch (error) {
    throw undecodable(codec ?? jsonCodec, topic, error);
  }
  return check(topic, payload);
}

/** What would be parsed has a limit on its way in, too: parsing holds up the event loop. Bytes are handed over as they are. */
function assertParsable({ name, options }: Topic, { byteLength: bytes }: Uint8Array): void {
  const { maxBytes = DEFAULT_MAX_BYTES } = options;
  if (bytes <= maxBytes) return;
  throw new HoldfastError(
    'message-too-large',
    `A message of topic "${name}" has ${bytes} bytes, more than its limit of ${maxBytes}: raise maxBytes in defineTopic, then replay it`,
    { details: { topic: name, bytes, maxBytes } },
  );
}

function undecodable(codec: Codec, topic: Topic, error: unknown): HoldfastError {
  return new HoldfastError(
    'undecodable',
    `A message of topic "${topic.name}" is not ${codec.contentType}: ${messageOf(error)}`,
    { cause: error },
  );
}

function check(topic: Topic, payload: unknown): unknown {
  const { schema } = topic.options;
  if (schema === undefined) return payload;
  const result = schema['~standard'].validate(payload);
  return result instanceof Promise ? result.then((settled) => accept(topic, settled)) : accept(topic, result);
}

function accept(topic: Topic, result: StandardSchemaV1.Result<unknown>): unknown {
  if (result.issues === undefined) return result.value;
  throw new HoldfastError(
    'schema-mismatch',
    `A message of topic "${topic.name}" does not match its schema: ${issuesText(result.issues)}`,
  );
}

/** What a foreign producer wrote may be no moment of a Date. */
function dateOf(ms: number | undefined): Date {
  const date = new Date(ms ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? new Date() : date;
}

/** The message for one call of the handler. */
export function messageFor(topic: Topic, delivery: Delivery, payload: unknown, attempt: number): Message {
  const { message } = delivery;
  return {
    id: message.id ?? delivery.position,
    topic: topic.name,
    payload,
    key: message.key,
    source: message.source,
    dedupeKey: message.dedupeKey,
    priority: delivery.lane,
    // The handler's own: what it changes, its next call does not see.
    headers: message.headers === undefined ? noHeaders : { ...message.headers },
    publishedAt: dateOf(message.publishedAt),
    attempt,
  };
}
