import type { KafkaRecord, NewRecord } from './client.ts';
import type { Context } from './context.ts';
import { sendCopies } from './copies.ts';

export interface Range {
  readonly from: number;
  readonly to: number;
}

/** A partition that is read from end to end, without a group. */
export interface Log {
  /** From its first record to the one after its last; nothing where there is no such topic. */
  span(): Promise<Range>;
  read(range: Range, signal?: AbortSignal): AsyncGenerator<KafkaRecord>;
  /** For each whether it is surely stored. */
  append(records: readonly NewRecord[]): Promise<readonly boolean[]>;
}

export function openLog(context: Context, place: { readonly topic: string; readonly partition: number }): Log {
  const { client } = context;
  return {
    async span() {
      if ((await client.partitionsOf(place.topic)) === undefined) return { from: 0, to: 0 };
      const [from, to] = await Promise.all([
        client.offsets(place.topic, place.partition + 1, 'earliest'),
        client.offsets(place.topic, place.partition + 1, 'latest'),
      ]);
      return { from: from[place.partition] ?? 0, to: to[place.partition] ?? 0 };
    },
    async *read({ from, to }, signal) {
      for (let offset = from; offset < to; ) {
        signal?.throwIfAborted();
        const { records, next } = await client.read(place, offset);
        // Compaction may have left nothing behind the last record.
        if (next <= offset) return;
        for (const record of records) if (record.offset < to) yield record;
        offset = next;
      }
    },
    async append(records) {
      const answers = await sendCopies(
        context,
        records.map((record) => ({ ...place, record })),
      );
      return answers.map(({ stored }) => stored === 'yes');
    },
  };
}
