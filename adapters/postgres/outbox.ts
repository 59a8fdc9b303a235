import { createHash } from 'node:crypto';
import type { EntrySource, Outbox, OutboxAddOptions, OutboxEntry } from '../../src/port.ts';
import { explaining } from './errors.ts';
import type { Names } from './names.ts';
import type { PgTransaction } from './pool.ts';

type Add = Pick<Outbox<PgTransaction>, 'add' | 'addAll'>;

/** Writes messages by the caller's transaction, in one statement per call; `onAdded` hears of each that took some. */
export function outboxWriter(names: Names, source: string, onAdded: (tx: PgTransaction) => void): Add {
  const insertOne = insertOneStatement(names);
  const insertAll = insertAllStatement(names);

  async function store(
    tx: PgTransaction,
    entries: readonly OutboxEntry[],
  ): Promise<readonly { readonly id: string }[]> {
    if (entries.length === 0) return [];
    await explaining(names, insert(tx, entries));
    onAdded(tx);
    return entries.map(({ id }) => ({ id }));
  }

  async function insert(tx: PgTransaction, entries: readonly OutboxEntry[]): Promise<void> {
    if (entries.length === 1) {
      const { rows } = await tx.query(insertOne, oneValues(source, entries[0]!));
      // None, and nothing stored, where its shape is not there yet: once in the life of a shape.
      if (rows.length === 1) return;
    }
    await tx.query(insertAll, allValues(source, entries));
  }

  return {
    async add(tx, topic, payload, options) {
      checkArguments(tx, topic);
      const [added] = await store(tx, [await topic.toEntry(payload, options)]);
      return added!;
    },
    async addAll<I>(
      tx: PgTransaction,
      topic: EntrySource<I>,
      payloads: readonly I[],
      optionsFor?: (payload: I, index: number) => OutboxAddOptions,
    ) {
      checkArguments(tx, topic);
      const entries = payloads.map(async (payload, index) => topic.toEntry(payload, optionsFor?.(payload, index)));
      return await store(tx, await Promise.all(entries));
    },
  };
}

const columns = `source, body, shard, shape, topic, message_id, key, dedupe_key, lane, headers, content_type, delay_ms,
  expires_in_ms`;

/** A third of the other's price: most of that goes into parsing and planning. */
const insertOneStatement = ({ outbox, shapes }: Names): string => `
  INSERT INTO ${outbox} (${columns})
  SELECT $1::text, $2::bytea, $3::smallint, $4::uuid, $5::text, $6::text, $7::text, $8::text, $9::text, $10::json, $11::text,
    $12::bigint, $13::bigint
  WHERE EXISTS (SELECT FROM ${shapes} WHERE id = $4::uuid)
  RETURNING true AS stored`;

/**
 * A shape is known by its hash, so that it need not be read back, and is written beside the messages only where this
 * transaction sees none: whoever rolls back takes only its own copy along. Bodies travel as one binary value, cut up
 * by the server, as an array of them would travel as hexadecimal text.
 */
const insertAllStatement = (names: Names): string => insertStatement(names, NOTHING_MORE);

/** What a kind of message has beside all others: the source of each, columns, and the arrays that they come from. */
export interface MoreColumns {
  readonly source: string;
  readonly names: string;
  readonly arrays: string;
  readonly aliases: string;
}
const NOTHING_MORE: MoreColumns = { source: '$3', names: '', arrays: '', aliases: '' };

export const insertStatement = ({ outbox, shapes }: Names, more: MoreColumns): string => `
  WITH used AS (
    INSERT INTO ${shapes} (id, shape)
    SELECT used.id, used.shape FROM unnest($1::uuid[], $2::text[]) AS used (id, shape)
    WHERE NOT EXISTS (SELECT FROM ${shapes} AS known WHERE known.id = used.id)
  )
  INSERT INTO ${outbox} (${columns}${more.names})
  SELECT ${more.source}, substring($4::bytea FROM added.start FOR added.length), shard, shape, topic, message_id, key,
    dedupe_key, lane, headers, content_type, delay_ms, expires_in_ms${more.names}
  FROM unnest(
    $5::smallint[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::json[], $13::text[],
    $14::bigint[], $15::bigint[], $16::integer[], $17::integer[]${more.arrays}
  ) AS added (
    shard, shape, topic, message_id, key, dedupe_key, lane, headers, content_type, delay_ms, expires_in_ms, start, length
    ${more.aliases}
  )`;

function oneValues(source: string, entry: OutboxEntry): unknown[] {
  return [source, buffer(entry.body), ...attributes(entry, shapeId(entry.shape))];
}

/** What `insertStatement` takes before the caller's own. */
export function allValues(source: string, entries: readonly OutboxEntry[]): unknown[] {
  const ids = new Map<string, string>();
  for (const { shape } of entries) if (!ids.has(shape)) ids.set(shape, shapeId(shape));
  const rows = entries.map((entry) => attributes(entry, ids.get(entry.shape)!));
  const starts: number[] = [];
  let start = 1;
  for (const { body } of entries) {
    starts.push(start);
    start += body.byteLength;
  }
  return [
    [...ids.values()],
    [...ids.keys()],
    source,
    Buffer.concat(entries.map(({ body }) => body)),
    ...rows[0]!.map((_, column) => rows.map((row) => row[column])),
    starts,
    entries.map(({ body }) => body.byteLength),
  ];
}

/** What both statements take, in the order of `columns`. */
function attributes(entry: OutboxEntry, shape: string): readonly unknown[] {
  return [
    entry.shard,
    shape,
    entry.topic,
    entry.id,
    entry.key ?? null,
    entry.dedupeKey ?? null,
    entry.lane,
    headersText(entry.headers),
    entry.contentType,
    Math.ceil(entry.delayMs),
    entry.expiresInMs === undefined ? null : Math.ceil(entry.expiresInMs),
  ];
}

/** The same bytes as the kind of array that package `pg` sends in binary. */
function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function shapeId(shape: string): string {
  return createHash('sha256').update(shape).digest('hex').slice(0, 32);
}

/** As `json`, not `jsonb`, and in ASCII: any string can be stored so, in a database of any encoding, U+0000 and half surrogates too. */
function headersText(headers: OutboxEntry['headers']): string | null {
  const text = JSON.stringify(headers);
  if (text === '{}') return null;
  return text.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function checkArguments(tx: PgTransaction, topic: EntrySource<never>): void {
  if (typeof tx?.query !== 'function') {
    throw new TypeError('outbox.add: the first argument must be your transaction, an object with query(text, values).');
  }
  if (typeof topic?.toEntry !== 'function') {
    throw new TypeError('outbox.add: the second argument must be a topic made by defineTopic().');
  }
}
