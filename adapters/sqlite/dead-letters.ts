import type { DatabaseSync } from 'node:sqlite';
import type { AdapterHooks, DeadLetterStore, SettleOutcome, StoredLetter, Topology } from '../../src/port.ts';
import { fromRow, laneName, MESSAGE_COLUMNS, toRow, toText } from './headers.ts';
import type { Registry } from './topology.ts';
import type { Writer } from './writer.ts';

const MARKS_COLUMN = MESSAGE_COLUMNS.split(', ').indexOf('marks');

export type DeadLetters = (topology: Topology, group: string) => DeadLetterStore;

/** Scans take no lock and hold no transaction; of two who take the same letter one gets `stale`. */
export function createDeadLetters(
  db: DatabaseSync,
  writer: Writer,
  registry: Registry,
  hooks: AdapterHooks,
): DeadLetters {
  const page = db.prepare(
    `SELECT id, lane, dead_at, ${MESSAGE_COLUMNS} FROM hf_dead WHERE grp = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?`,
  );
  const newest = db.prepare('SELECT max(id) AS id FROM hf_dead WHERE grp = ?');
  const count = db.prepare('SELECT count(*) AS count FROM hf_dead WHERE grp = ?');
  const columns = MESSAGE_COLUMNS.replace('marks', '?');
  const copyBack = db.prepare(
    `INSERT INTO hf_messages (grp, lane, shard, due, added_at, ${MESSAGE_COLUMNS})
     SELECT grp, lane, shard, 0, ?, ${columns} FROM hf_dead WHERE id = ? AND grp = ?`,
  );
  const insert = db.prepare(
    `INSERT INTO hf_messages (grp, lane, shard, due, added_at, ${MESSAGE_COLUMNS})
     SELECT grp, lane, coalesce(?, shard), 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM hf_dead WHERE id = ? AND grp = ?`,
  );
  const remove = db.prepare('DELETE FROM hf_dead WHERE id = ? AND grp = ?');

  return (topology, name) => {
    const group = (): number => registry.group(topology.topic, name).id;

    /** One transaction. A letter that is not there any more has been taken by somebody else. */
    async function each(
      letters: readonly StoredLetter[],
      step: (letter: number, group: number, index: number) => boolean,
    ): Promise<SettleOutcome[]> {
      const id = group();
      const one = ({ handle }: StoredLetter, index: number): SettleOutcome =>
        step(handle as number, id, index) ? 'settled' : 'stale';
      return writer.write(() => letters.map(one), { durable: true, notify: true });
    }

    return {
      sorted: true,
      async *scan({ pageSize, signal, after: from }) {
        const id = group();
        // Up to the newest of this moment: a letter that is replayed and dies again must not be met twice.
        const last = newest.get(id)?.id as number | null;
        let after = Number(from ?? 0) || 0;
        while (last !== null && after < last) {
          signal?.throwIfAborted();
          const rows = page.all(id, after, last, pageSize);
          if (rows.length === 0) return;
          after = rows.at(-1)!.id as number;
          yield rows.map((row) => ({
            letterId: String(row.id),
            place: String(row.id).padStart(16, '0'),
            message: fromRow(row),
            lane: laneName(row.lane as number),
            deadAt: row.dead_at as number,
            handle: row.id,
          }));
        }
      },
      async replay(letters, marks) {
        const text = toText(marks);
        const outcomes = await each(letters, (letter, id) => {
          if (copyBack.run(Date.now(), text, letter, id).changes === 0) return false;
          remove.run(letter, id);
          return true;
        });
        await hooks.crashPoint?.('sqlite:replay-committed');
        return outcomes;
      },
      async replace(replacements) {
        const ordered = registry.group(topology.topic, name).ordered;
        const outcomes = await each(
          replacements.map(({ letter }) => letter),
          (letter, id, index) => {
            const { message, marks } = replacements[index]!;
            const row = toRow(message).with(MARKS_COLUMN, toText(marks));
            const shard = ordered ? (message.partition ?? null) : null;
            if (insert.run(shard, Date.now(), ...row, letter, id).changes === 0) return false;
            remove.run(letter, id);
            return true;
          },
        );
        await hooks.crashPoint?.('sqlite:replay-committed');
        return outcomes;
      },
      async discard(letters) {
        const outcomes = await each(letters, (letter, id) => remove.run(letter, id).changes > 0);
        await hooks.crashPoint?.('sqlite:discard-committed');
        return outcomes;
      },
      count: async () => count.get(group())!.count as number,
    };
  };
}
