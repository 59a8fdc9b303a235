import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { EntrySource, Outbox, OutboxAddOptions, OutboxEntry, SpillEntry } from '../../src/port.ts';
import { explained } from './store-errors.ts';
import { patiently } from './store-patience.ts';
import { nowMs } from './store-schema.ts';

type Add = Pick<Outbox<DatabaseSync>, 'add' | 'addAll'>;

/** Writes messages by the caller's transaction; `onAdded` hears of each that took some. */
export function outboxWriter(source: string, busyTimeoutMs: number, onAdded: (tx: DatabaseSync) => void): Add {
  async function store(tx: DatabaseSync, entries: readonly OutboxEntry[]): Promise<readonly { readonly id: string }[]> {
    if (entries.length === 0) return [];
    try {
      // Within a transaction of the store's own the lock is held already; one of the caller's may have to wait for it.
      await patiently({ path: 'the database', busyTimeoutMs }, () => insertEntries(tx, source, entries));
    } catch (error) {
      throw explained(error);
    }
    onAdded(tx);
    return entries.map(({ id }) => ({ id }));
  }

  return {
    async add(tx, topic, payload, options) {
      checkArguments(tx, topic);
      const [added] = await store(tx, [await topic.toEntry(payload, options)]);
      return added!;
    },
    async addAll<I>(
      tx: DatabaseSync,
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

/** All of them or none, also where the caller catches the error and commits. Returns their row ids. */
export function insertEntries(
  tx: DatabaseSync,
  source: string,
  entries: readonly (OutboxEntry & Partial<SpillEntry>)[],
): readonly string[] {
  tx.exec('SAVEPOINT holdfast_add');
  try {
    const shape = tx.prepare('INSERT OR IGNORE INTO holdfast_outbox_shapes (id, shape) VALUES (?, ?)');
    const message = tx.prepare(
      `INSERT INTO holdfast_outbox (
         source, shard, shape, topic, message_id, key, dedupe_key, lane, headers, content_type, body, delay_ms,
         expires_in_ms, published_at, spilled_bytes, added_at
       ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ${nowMs})`,
    );
    const ids: string[] = [];
    const shapes = new Map<string, string>();
    for (const entry of entries) {
      let shapeId = shapes.get(entry.shape);
      if (shapeId === undefined) {
        shapeId = createHash('sha256').update(entry.shape).digest('hex').slice(0, 32);
        shapes.set(entry.shape, shapeId);
        shape.run(shapeId, entry.shape);
      }
      const { lastInsertRowid } = message.run(
        entry.source ?? source,
        entry.shard,
        shapeId,
        entry.topic,
        entry.id,
        entry.key ?? null,
        entry.dedupeKey ?? null,
        entry.lane,
        headersText(entry.headers),
        entry.contentType,
        entry.body,
        Math.ceil(entry.delayMs),
        entry.expiresInMs === undefined ? null : Math.ceil(entry.expiresInMs),
        entry.publishedAt ?? null,
        entry.bytes ?? null,
      );
      ids.push(String(lastInsertRowid));
    }
    tx.exec('RELEASE holdfast_add');
    return ids;
  } catch (error) {
    if (tx.isTransaction) tx.exec('ROLLBACK TO holdfast_add; RELEASE holdfast_add');
    throw error;
  }
}

/** JSON escapes what SQLite's text or UTF-8 cannot hold: U+0000 and half surrogates. */
function headersText(headers: OutboxEntry['headers']): string | null {
  const text = JSON.stringify(headers);
  return text === '{}' ? null : text;
}

function checkArguments(tx: DatabaseSync, topic: EntrySource<never>): void {
  if (typeof tx?.prepare !== 'function' || typeof tx.exec !== 'function') {
    throw new TypeError('outbox.add: the first argument must be your transaction, a DatabaseSync on the same file.');
  }
  if (typeof topic?.toEntry !== 'function') {
    throw new TypeError('outbox.add: the second argument must be a topic made by defineTopic().');
  }
}
