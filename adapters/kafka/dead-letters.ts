import type { DeadLetterStore, Headers, SettleOutcome, StoredLetter, Topology } from '../../src/port.ts';
import type { KafkaRecord, NewRecord } from './client.ts';
import { type Context, copyDeadline } from './context.ts';
import { copyOf, fromRecord, originOf, toRecord } from './headers.ts';
import { deadTopic, retryTopic } from './names.ts';
import { chunks } from './publish.ts';

const PARTITION = 0;
/** Replays begin on the rung that rests for nothing. */
const REPLAY_RUNG = 0;
/** Counting reads them all; beyond this the number is not worth it. */
const COUNT_AT_MOST = 100_000;

/**
 * Dead letters are a compacted topic of one partition, keyed by letter id: the last record of an id is the letter, and a
 * record without a value removes it. Nothing is locked: a scan sees what was there when it began, whoever else replays.
 */
export function deadLetters(context: Context, topology: Topology, group: string): DeadLetterStore {
  const { client, sender } = context;
  const topic = deadTopic(topology.topic, group);
  const place = { topic, partition: PARTITION };

  async function span(): Promise<{ from: number; to: number }> {
    if ((await client.partitionsOf(topic)) === undefined) return { from: 0, to: 0 };
    const [[from], [to]] = await Promise.all([
      client.offsets(topic, 1, 'earliest'),
      client.offsets(topic, 1, 'latest'),
    ]);
    return { from: from ?? 0, to: to ?? 0 };
  }

  async function* read({ from, to }: { from: number; to: number }, signal?: AbortSignal): AsyncGenerator<KafkaRecord> {
    for (let offset = from; offset < to; ) {
      signal?.throwIfAborted();
      const { records, next } = await client.read(place, offset);
      // Compaction may have left nothing behind the last record.
      if (next <= offset) return;
      for (const record of records) if (record.offset < to) yield record;
      offset = next;
    }
  }

  /** The offset of each letter's last record. */
  async function live(range: { from: number; to: number }, signal?: AbortSignal): Promise<Map<string, number>> {
    const last = new Map<string, number>();
    for await (const { key, value, offset } of read(range, signal)) {
      if (key === null) continue;
      if (value === null) last.delete(key.toString());
      else last.set(key.toString(), offset);
    }
    return last;
  }

  async function send(
    records: readonly { record: NewRecord; index: number }[],
    to: { topic: string; partition: number },
  ): Promise<boolean[]> {
    const stored: boolean[] = [];
    for (const chunk of chunks(
      records.map((one) => ({ ...to, ...one })),
      context.topology.batchBytes,
    )) {
      const batch = { ...to, records: chunk.items.map(({ record }) => record) };
      const [answer] = await sender.send([batch], copyDeadline(context));
      for (const { index } of chunk.items) stored[index] = answer?.stored === 'yes';
    }
    return stored;
  }

  async function bury(letters: readonly StoredLetter[], which: (index: number) => boolean): Promise<SettleOutcome[]> {
    const tombstones = letters.flatMap(({ letterId }, index) =>
      which(index) ? [{ index, record: { key: Buffer.from(letterId), value: null, headers: {} } }] : [],
    );
    const stored = await send(tombstones, place);
    return letters.map((_, index) => (stored[index] === true ? 'settled' : 'unknown'));
  }

  /** Copies, waits for their confirms, then removes the letters of those that are stored. */
  async function move(letters: readonly StoredLetter[], copies: readonly NewRecord[]): Promise<SettleOutcome[]> {
    await context.topology.declareGroup(topology, group);
    const stored = await send(
      copies.map((record, index) => ({ record, index })),
      { topic: retryTopic(topology.topic, group), partition: REPLAY_RUNG },
    );
    await context.hooks.crashPoint?.('replay:copy-confirmed');
    return await bury(letters, (index) => stored[index] === true);
  }

  return {
    sorted: true,
    async *scan({ pageSize, signal, after }) {
      const { from, to } = await span();
      // No letter stands for another before its own last record: what is behind `after` is all that is needed.
      const range = { from: Math.max(from, (Number(after ?? -1) || 0) + 1), to };
      const last = await live(range, signal);
      let page: StoredLetter[] = [];
      for await (const record of read(range, signal)) {
        const letterId = record.key?.toString();
        if (letterId === undefined || last.get(letterId) !== record.offset) continue;
        const { lane } = originOf(record);
        const place = String(record.offset).padStart(16, '0');
        page.push({ letterId, place, message: fromRecord(record), lane, deadAt: record.timestamp, handle: record });
        if (page.length < pageSize) continue;
        yield page;
        page = [];
      }
      if (page.length > 0) yield page;
    },
    replay(letters: readonly StoredLetter[], marks: Headers) {
      const copies = letters.map(({ handle }): NewRecord => {
        const record = handle as KafkaRecord;
        const origin = originOf(record);
        return copyOf(record, { origin: { ...origin, at: origin.at || undefined }, marks, waitMs: 0 });
      });
      return move(letters, copies);
    },
    replace(replacements) {
      const copies = replacements.map(({ letter, message, marks }): NewRecord => {
        const { lane, partition } = originOf(letter.handle as KafkaRecord);
        const origin = { lane, partition: message.partition ?? partition, at: undefined };
        return copyOf(asRead(toRecord(message)), { origin, marks, waitMs: 0 });
      });
      return move(
        replacements.map(({ letter }) => letter),
        copies,
      );
    },
    discard: (letters) => bury(letters, () => true),
    async count() {
      const range = await span();
      if (range.to - range.from > COUNT_AT_MOST) return undefined;
      return (await live(range)).size;
    },
  };
}

/** A record that was never sent, as if it had been read. */
function asRead({ key, value, headers, timestamp }: NewRecord): KafkaRecord {
  const read: Record<string, Uint8Array> = Object.create(null) as Record<string, Uint8Array>;
  for (const name in headers) read[name] = Buffer.from(headers[name]!);
  return { offset: -1, timestamp, key: key === null ? null : Buffer.from(key), value, headers: read };
}
