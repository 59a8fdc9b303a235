import type { DeadLetterStore, Headers, SettleOutcome, StoredLetter, Topology } from '../../src/port.ts';
import type { KafkaRecord, NewRecord } from './client.ts';
import type { Context } from './context.ts';
import { isLock, type Lock, openLock } from './dead-letter-lock.ts';
import { openLog, type Range } from './dead-letter-log.ts';
import { copyOf, fromRecord, originOf, toRecord } from './headers.ts';
import { deadTopic, retryTopic } from './names.ts';

const PARTITION = 0;
/** Replays begin on the rung that rests for nothing. */
const REPLAY_RUNG = 0;
/** Counting reads them all; beyond this the number is not worth it. */
const COUNT_AT_MOST = 100_000;

interface LetterHandle {
  readonly record: KafkaRecord;
  readonly scan: { readonly lock: Lock; readonly open: boolean };
}

/**
 * Dead letters are a compacted topic of one partition, keyed by letter id: the last record of an id is the letter, and a
 * record without a value removes it. A scan sees what was there when it began, and locks nothing until it moves a letter.
 */
export function deadLetters(context: Context, topology: Topology, group: string): DeadLetterStore {
  const log = openLog(context, { topic: deadTopic(topology.topic, group), partition: PARTITION });
  const ladder = openLog(context, { topic: retryTopic(topology.topic, group), partition: REPLAY_RUNG });
  const what = `topic "${topology.topic}", group "${group}"`;

  /** The offset of each letter's last record. */
  async function live(
    range: Range,
    { signal, observe }: { signal?: AbortSignal | undefined; observe?: Lock['observe'] } = {},
  ): Promise<Map<string, number>> {
    const last = new Map<string, number>();
    for await (const record of log.read(range, signal)) {
      observe?.(record);
      const letterId = record.key?.toString();
      if (letterId === undefined || isLock(letterId)) continue;
      if (record.value === null) last.delete(letterId);
      else last.set(letterId, record.offset);
    }
    return last;
  }

  /** Runs `work` with those that are still there, under the lock of their scan; of a scan that is over, under one of their own. */
  async function locked(
    letters: readonly StoredLetter[],
    work: (indexes: readonly number[]) => Promise<readonly boolean[]>,
  ): Promise<SettleOutcome[]> {
    const outcomes = letters.map((): SettleOutcome => 'stale');
    const [first] = letters;
    if (first === undefined) return outcomes;
    const { scan } = first.handle as LetterHandle;
    const lock = scan.open ? scan.lock : openLock(log, (await log.span()).from, what);
    try {
      await lock.hold();
      const there = [...letters.keys()].filter((index) => !lock.isGone(letters[index]!.letterId));
      const removed = await work(there);
      for (const [position, index] of there.entries())
        outcomes[index] = removed[position] === true ? 'settled' : 'unknown';
      return outcomes;
    } finally {
      if (!scan.open) await lock.release();
    }
  }

  const tombstone = (letterId: string): NewRecord => ({ key: letterId, value: null, headers: {} });

  /** Copies, waits for their confirms, then removes the letters of those that are stored. */
  function move(letters: readonly StoredLetter[], copies: readonly NewRecord[]): Promise<SettleOutcome[]> {
    return locked(letters, async (indexes) => {
      await context.topology.declareGroup(topology, group);
      const stored = await ladder.append(indexes.map((index) => copies[index]!));
      await context.hooks.crashPoint?.('replay:copy-confirmed');
      const copied = indexes.filter((_, position) => stored[position] === true);
      const removed = await log.append(copied.map((index) => tombstone(letters[index]!.letterId)));
      const done = new Set(copied.filter((_, position) => removed[position] === true));
      return indexes.map((index) => done.has(index));
    });
  }

  return {
    sorted: true,
    async *scan({ pageSize, signal, after }) {
      const whole = await log.span();
      // No letter stands for another before its own last record: what is behind `after` is all that is needed.
      const range = { from: Math.max(whole.from, (Number(after ?? -1) || 0) + 1), to: whole.to };
      const scan = { lock: openLock(log, whole.from, what), open: true };
      try {
        const observe = range.from === whole.from ? scan.lock.observe : undefined;
        const last = await live(range, { signal, ...(observe && { observe }) });
        let page: StoredLetter[] = [];
        for await (const record of log.read(range, signal)) {
          const letterId = record.key?.toString();
          if (letterId === undefined || last.get(letterId) !== record.offset) continue;
          page.push(toStored(letterId, { record, scan }));
          if (page.length < pageSize) continue;
          yield page;
          page = [];
        }
        if (page.length > 0) yield page;
      } finally {
        scan.open = false;
        await scan.lock.release();
      }
    },
    replay(letters: readonly StoredLetter[], marks: Headers) {
      const copies = letters.map(({ handle }): NewRecord => {
        const { record } = handle as LetterHandle;
        const origin = originOf(record);
        return copyOf(record, { origin: { ...origin, at: origin.at || undefined }, marks, waitMs: 0 });
      });
      return move(letters, copies);
    },
    replace(replacements) {
      const copies = replacements.map(({ letter, message, marks }): NewRecord => {
        const { lane, partition } = originOf((letter.handle as LetterHandle).record);
        const origin = { lane, partition: message.partition ?? partition, at: undefined };
        return copyOf(asRead(toRecord(message)), { origin, marks, waitMs: 0 });
      });
      return move(
        replacements.map(({ letter }) => letter),
        copies,
      );
    },
    discard: (letters) =>
      locked(letters, (indexes) => log.append(indexes.map((index) => tombstone(letters[index]!.letterId)))),
    async count() {
      const range = await log.span();
      if (range.to - range.from > COUNT_AT_MOST) return undefined;
      return (await live(range)).size;
    },
  };
}

function toStored(letterId: string, handle: LetterHandle): StoredLetter {
  const { record } = handle;
  return {
    letterId,
    place: String(record.offset).padStart(16, '0'),
    message: fromRecord(record),
    lane: originOf(record).lane,
    deadAt: record.timestamp,
    handle,
  };
}

/** A record that was never sent, as if it had been read. */
function asRead({ key, value, headers, timestamp }: NewRecord): KafkaRecord {
  const read: Record<string, Uint8Array> = Object.create(null) as Record<string, Uint8Array>;
  for (const name in headers) read[name] = Buffer.from(headers[name]!);
  return { offset: -1, timestamp, key: key === null ? null : Buffer.from(key), value, headers: read };
}
