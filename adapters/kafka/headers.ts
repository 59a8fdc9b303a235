import type { Headers, Incoming, Outgoing, Priority } from '../../src/port.ts';
import type { KafkaRecord, NewRecord } from './client.ts';
import { LANES } from './names.ts';

/*
 * A message as a record: the key is the record's key, `publishedAt` its timestamp, the body its value. Headers:
 *
 *   hf-id, hf-source, content-type, hf-dedupe, hf-expires (epoch ms)
 *   <name>          a header of the user's; one named content-type travels as hf-u-content-type
 *   hf-<name>       a mark of the core's, on internal copies
 *   hf-k-<name>     our own bookkeeping on internal copies:
 *     wait            how long it rests, in ms from the record's timestamp, which on ladders is the broker's clock
 *     lane, part      where it belongs
 *     time            its publishedAt, since a ladder's timestamps are the broker's
 *     at              where the original stands: topic/partition/offset
 *     letter          on dead letters, whose record key is the letter's id; key is the message's own then
 *
 * CloudEvents 1.0 in binary mode, of foreign producers and of our own that write it: ce_id, ce_source, ce_time are read.
 */

type Wire = Record<string, string | Uint8Array>;

const attributes = new Set([
  'hf-id',
  'hf-source',
  'hf-dedupe',
  'hf-expires',
  'content-type',
  'ce_id',
  'ce_source',
  'ce_time',
  'ce_specversion',
]);
const BOOK = 'hf-k-';
const USER = 'hf-u-';

const wire = (): Wire => Object.create(null) as Wire;

/** Message to record. */
export function toRecord(message: Outgoing): NewRecord {
  const headers = wire();
  headers['hf-id'] = message.id;
  headers['hf-source'] = message.source;
  headers['content-type'] = message.contentType;
  if (message.dedupeKey !== undefined) headers['hf-dedupe'] = message.dedupeKey;
  if (message.expiresAt !== undefined) headers['hf-expires'] = String(message.expiresAt);
  for (const name of Object.keys(message.headers)) {
    headers[name === 'content-type' ? `${USER}${name}` : name] = message.headers[name]!;
  }
  return { key: message.key ?? null, value: bytes(message.body), headers, timestamp: message.publishedAt };
}

/** The same as a CloudEvent 1.0, binary mode of its Kafka binding; ours are only the headers that it has no attribute for. */
export function toCloudEvent(message: Outgoing): NewRecord {
  const record = toRecord(message);
  const { 'hf-id': id, 'hf-source': _, ...rest } = record.headers;
  const source = encodeURI(message.source);
  const headers: Wire = Object.assign(wire(), rest, {
    ce_specversion: '1.0',
    ce_id: id,
    ce_source: source,
    ce_type: message.topology.topic,
    ce_time: new Date(message.publishedAt).toISOString(),
  });
  // A URI reference: where something had to be escaped, our own consumers read it here.
  if (source !== message.source) headers['hf-source'] = message.source;
  if (message.key !== undefined) headers.ce_partitionkey = message.key;
  return { ...record, headers };
}

/** Record to message. */
export function fromRecord(record: KafkaRecord): Incoming {
  const own: Record<string, string | undefined> = {};
  const headers: Record<string, string> = {};
  const marks: Record<string, string> = {};
  let time: number | undefined;
  for (const name in record.headers) {
    const value = record.headers[name] as Buffer;
    if (attributes.has(name)) own[name] = value.toString();
    else if (name.startsWith(BOOK)) {
      if (name === 'hf-k-time') time = milliseconds(value.toString());
    } else if (name.startsWith(USER)) put(headers, name.slice(USER.length), value);
    else if (name.startsWith('hf-')) marks[name.slice(3)] = value.toString();
    else put(headers, name, value);
  }
  const copied = record.headers['hf-k-at'] !== undefined;
  return {
    id: own['hf-id'] ?? own.ce_id,
    source: own['hf-source'] ?? own.ce_source,
    body: record.value ?? Buffer.alloc(0),
    contentType: own['content-type'],
    key: keyOf(record)?.toString(),
    dedupeKey: own['hf-dedupe'],
    headers,
    marks,
    publishedAt: instant(own.ce_time) ?? time ?? (copied ? undefined : record.timestamp),
    expiresAt: milliseconds(own['hf-expires']),
  };
}

/** What a copy says of its original. */
export interface Origin {
  readonly lane: Priority;
  readonly partition: number;
  /** `topic/partition/offset` of the first record; a message's copies, letters and replays share it. */
  readonly at: string;
  /** Milliseconds from the record's timestamp before which it is not due. */
  readonly waitMs: number;
}

/** Of an internal copy. */
export function originOf(record: KafkaRecord): Origin {
  const text = (name: string): string | undefined =>
    (record.headers[`${BOOK}${name}`] as Buffer | undefined)?.toString();
  const lane = text('lane');
  return {
    lane: LANES.find((one) => one === lane) ?? 'normal',
    partition: milliseconds(text('part')) ?? 0,
    at: text('at') ?? '',
    waitMs: milliseconds(text('wait')) ?? 0,
  };
}

export interface CopyOptions {
  readonly origin: Pick<Origin, 'lane' | 'partition'> & { readonly at: string | undefined };
  /** Undefined keeps the old ones. */
  readonly marks: Headers | undefined;
  readonly waitMs?: number;
  /** The copy is a dead letter with this id. */
  readonly letterId?: string;
}

/** The same message, its bytes, key and headers untouched, under other marks. */
export function copyOf(record: KafkaRecord, { origin, marks, waitMs, letterId }: CopyOptions): NewRecord {
  const headers = wire();
  let key = keyOf(record);
  for (const name in record.headers) {
    if (name.startsWith(BOOK) || (marks !== undefined && isMark(name))) continue;
    headers[name] = record.headers[name]!;
  }
  for (const name in marks ?? {}) headers[`hf-${name}`] = marks![name]!;
  const time = record.headers['hf-k-time']?.toString() ?? (record.headers['hf-k-at'] ? undefined : record.timestamp);
  if (time !== undefined) headers['hf-k-time'] = String(time);
  headers['hf-k-lane'] = origin.lane;
  headers['hf-k-part'] = String(origin.partition);
  if (origin.at !== undefined) headers['hf-k-at'] = origin.at;
  if (waitMs !== undefined) headers['hf-k-wait'] = String(waitMs);
  if (letterId !== undefined) {
    headers['hf-k-letter'] = '1';
    if (key !== null) headers['hf-k-key'] = key;
    key = Buffer.from(letterId);
  }
  return { key, value: record.value ?? Buffer.alloc(0), headers };
}

/** A message that rests on the topic's delay ladder before it is published. */
export function delayed(record: NewRecord, partition: number, lane: Priority, waitMs: number): NewRecord {
  const headers: Wire = Object.assign(wire(), record.headers);
  headers['hf-k-wait'] = String(waitMs);
  headers['hf-k-lane'] = lane;
  headers['hf-k-part'] = String(partition);
  if (record.timestamp !== undefined) headers['hf-k-time'] = String(record.timestamp);
  return { key: record.key, value: record.value, headers };
}

/** As it would have been published without the delay. */
export function undelayed(record: KafkaRecord): NewRecord {
  const headers = wire();
  for (const name in record.headers) if (!name.startsWith(BOOK)) headers[name] = record.headers[name]!;
  const time = milliseconds(record.headers['hf-k-time']?.toString());
  return { key: record.key, value: record.value, headers, ...(time === undefined ? {} : { timestamp: time }) };
}

/** A rough size on the wire, never below the true one for headers of holdfast's. */
export function sizeOf(record: NewRecord): number {
  let size = 40 + (record.key?.length ?? 0) * (typeof record.key === 'string' ? 3 : 1) + (record.value?.length ?? 0);
  for (const name in record.headers) {
    const value = record.headers[name]!;
    size += name.length + 4 + (typeof value === 'string' ? Buffer.byteLength(value) : value.length);
  }
  return size;
}

function keyOf(record: KafkaRecord): Buffer | null {
  return record.headers['hf-k-letter'] === undefined
    ? record.key
    : ((record.headers['hf-k-key'] as Buffer | undefined) ?? null);
}

const isMark = (name: string): boolean => name.startsWith('hf-') && !attributes.has(name) && !name.startsWith(USER);

/** Names that belong to holdfast or to brokers are nobody's headers. */
function put(headers: Record<string, string>, name: string, value: Buffer): void {
  if (name.startsWith('x-') || name.startsWith('hf-') || name.startsWith('ce_') || name === '__proto__') return;
  headers[name] = value.toString();
}

function milliseconds(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,16}$/.test(value) ? Number(value) : undefined;
}

function instant(value: string | undefined): number | undefined {
  const parsed = value === undefined ? Number.NaN : Date.parse(value);
  return Number.isNaN(parsed) ? undefined : parsed;
}

function bytes(body: Uint8Array): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}
