import { randomUUID } from 'node:crypto';
import type { MessageProperties, Options } from 'amqplib';
import type { Headers, Incoming, Outgoing, Priority } from '../../src/port.ts';

// Native properties first: message-id, type (topic), app-id (source), timestamp (seconds), content-type. What has none
// is a header, and only when set: each one costs throughput.
//
//   hf-key  hf-dedupe  hf-expires (epoch milliseconds)   attributes of the message
//   hf-header-CC  hf-header-BCC                          user headers whose bare names RabbitMQ would route by
//   hf-wait (milliseconds)                               on retries alone: what is left of a delay beyond the longest path
//   hf-letter-id  -at  -lane  -shard                     on dead letters alone: identity, time and origin
//   hf-<name>                                            the core's marks; hf-mark-<name> where that is taken

const KEY = 'hf-key';
const DEDUPE = 'hf-dedupe';
const EXPIRES = 'hf-expires';
const WAIT = 'hf-wait';
const ESCAPED = 'hf-header-';
const MARK = 'hf-mark-';
const LETTER = 'hf-letter-id';
const DEAD_AT = 'hf-letter-at';
const LANE = 'hf-letter-lane';
const SHARD = 'hf-letter-shard';
const OWN: ReadonlySet<string> = new Set([KEY, DEDUPE, EXPIRES, WAIT, LETTER, DEAD_AT, LANE, SHARD]);
const TAKEN = /^(?:key|dedupe|expires|wait|letter-.*|header-.*|mark-.*)$/;

/** RabbitMQ routes by these and closes the channel of a publish whose value is not a list. */
const ROUTING: ReadonlySet<string> = new Set(['CC', 'BCC']);

/** Context attributes of CloudEvents, and the extension that names the key; other extensions stay user headers. */
const CLOUD_EVENTS =
  /^cloudEvents[:_](?:id|source|type|specversion|time|subject|dataschema|datacontenttype|partitionkey)$/;

type Table = Record<string, unknown>;

/** A message as it is published. The publish time is kept to the second: AMQP has no finer one. */
export function toProperties(message: Outgoing): Options.Publish {
  let headers: Table | undefined;
  const put = (name: string, value: string): void => {
    headers ??= {};
    headers[name] = value;
  };
  for (const name in message.headers) put(ROUTING.has(name) ? ESCAPED + name : name, message.headers[name]!);
  if (message.key !== undefined) put(KEY, message.key);
  if (message.dedupeKey !== undefined) put(DEDUPE, message.dedupeKey);
  if (message.expiresAt !== undefined) put(EXPIRES, String(message.expiresAt));
  return {
    persistent: true,
    mandatory: true,
    messageId: message.id,
    type: message.topology.topic,
    appId: message.source,
    timestamp: Math.floor(message.publishedAt / 1000),
    contentType: message.contentType,
    ...(headers && { headers }),
  };
}

/**
 * The same as a CloudEvent 1.0, binary mode of its AMQP binding: attributes as `cloudEvents:` headers, the content type as
 * the property. Our own properties stay, and of our headers those that CloudEvents has no attribute for.
 */
export function toCloudEvent(message: Outgoing): Options.Publish {
  const properties = toProperties(message);
  const headers: Table = {
    ...(properties.headers as Table | undefined),
    'cloudEvents:specversion': '1.0',
    'cloudEvents:id': message.id,
    // A URI reference: what may not stand in one is escaped. Our own consumers read the property.
    'cloudEvents:source': encodeURI(message.source),
    'cloudEvents:type': message.topology.topic,
    'cloudEvents:time': new Date(message.publishedAt).toISOString(),
  };
  if (message.key !== undefined) {
    delete headers[KEY];
    headers['cloudEvents:partitionkey'] = message.key;
  }
  return { ...properties, headers };
}

/** The way back. Takes messages of foreign producers too, in plain AMQP or as CloudEvents in binary mode. */
export function toIncoming(properties: MessageProperties, body: Uint8Array): Incoming {
  const headers: Record<string, string> = {};
  const marks: Record<string, string> = {};
  const table: Table = properties.headers ?? {};
  let cloudEvent: ((name: string) => string | undefined) | undefined;
  for (const name of Object.keys(table)) {
    const value = toText(table[name]);
    if (value === undefined || name.startsWith('x-')) continue;
    if (name.startsWith(ESCAPED)) set(headers, name.slice(ESCAPED.length), value);
    else if (!name.startsWith('hf-')) {
      if (CLOUD_EVENTS.test(name))
        cloudEvent ??= (part) => toText(table[`cloudEvents:${part}`] ?? table[`cloudEvents_${part}`]);
      else set(headers, name, value);
    } else if (!OWN.has(name)) set(marks, name.slice(name.startsWith(MARK) ? MARK.length : 3), value);
  }
  return {
    id: toText(properties.messageId) ?? cloudEvent?.('id'),
    source: toText(properties.appId) ?? cloudEvent?.('source'),
    body,
    contentType: toText(properties.contentType) ?? cloudEvent?.('datacontenttype'),
    key: toText(table[KEY]) ?? cloudEvent?.('partitionkey'),
    dedupeKey: toText(table[DEDUPE]),
    headers,
    marks,
    publishedAt: toTime(properties.timestamp) ?? toTime(Date.parse(cloudEvent?.('time') ?? '')),
    expiresAt: toNumber(table[EXPIRES]),
  };
}

/** Properties of an internal copy: what the original had, without the broker's bookkeeping, with these marks alone. */
export function toCopy(properties: MessageProperties, marks: Headers): Options.Publish {
  const headers: Table = {};
  for (const [name, value] of Object.entries((properties.headers ?? {}) as Table)) {
    const kept = name === KEY || name === DEDUPE || name === EXPIRES || name.startsWith(ESCAPED);
    if (kept || !(name.startsWith('hf-') || name.startsWith('x-'))) set(headers, name, value);
  }
  for (const [name, value] of Object.entries(marks)) headers[TAKEN.test(name) ? MARK + name : `hf-${name}`] = value;
  // Left out: expiration, which would drop the copy, and user-id, which the broker compares with our own login.
  const { contentType, contentEncoding, correlationId, replyTo, messageId, timestamp, type, appId, priority } =
    properties;
  const kept = { contentType, contentEncoding, correlationId, replyTo, messageId, timestamp, type, appId, priority };
  return { persistent: true, mandatory: true, headers, ...(kept as Options.Publish) };
}

/** A copy that will have to wait again, for so long, when it arrives. */
export function toWaiting(properties: Options.Publish, leftMs: number): Options.Publish {
  return leftMs > 0 ? { ...properties, headers: { ...properties.headers, [WAIT]: String(leftMs) } } : properties;
}

export function waitLeftMs(properties: MessageProperties): number {
  return toNumber((properties.headers as Table | undefined)?.[WAIT]) ?? 0;
}

/** What is known of a letter's origin, so that it can be replayed to where it came from. */
export interface LetterOrigin {
  readonly lane: Priority;
  readonly shard: number | undefined;
}

export function toLetter(properties: MessageProperties, marks: Headers, origin: LetterOrigin): Options.Publish {
  const copy = toCopy(properties, marks);
  const headers = copy.headers as Table;
  headers[LETTER] = randomUUID();
  headers[DEAD_AT] = String(Date.now());
  if (origin.lane !== 'normal') headers[LANE] = origin.lane;
  if (origin.shard !== undefined) headers[SHARD] = String(origin.shard);
  return copy;
}

export function fromLetter(
  properties: MessageProperties,
): LetterOrigin & { readonly letterId: string | undefined; readonly deadAt: number | undefined } {
  const table: Table = properties.headers ?? {};
  const lane = toText(table[LANE]);
  return {
    letterId: toText(table[LETTER]),
    deadAt: toNumber(table[DEAD_AT]),
    lane: lane === 'high' || lane === 'low' ? lane : 'normal',
    shard: toNumber(table[SHARD]),
  };
}

function set(table: Table, name: string, value: unknown): void {
  // A foreign header called __proto__ must not become one.
  if (name === '__proto__') Object.defineProperty(table, name, { value, enumerable: true });
  else table[name] = value;
}

function toText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return undefined;
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  if (typeof value !== 'object') return String(value);
  const tagged = value as { readonly '!'?: string; readonly value?: unknown };
  return tagged['!'] === undefined ? JSON.stringify(value) : String(tagged.value);
}

function toNumber(value: unknown): number | undefined {
  const number = Number(toText(value) ?? Number.NaN);
  return Number.isFinite(number) ? number : undefined;
}

/** The last moment of a Date. AMQP's timestamps go further. */
const MAX_TIME = 8_640_000_000_000_000;

/** Epoch milliseconds. Some producers put milliseconds where AMQP wants seconds. */
function toTime(value: unknown): number | undefined {
  if (typeof value !== 'number' || !(value >= 0 && value <= MAX_TIME)) return undefined;
  return value < 100_000_000_000 ? value * 1000 : value;
}
