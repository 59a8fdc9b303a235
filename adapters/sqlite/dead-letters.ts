import type { DatabaseSync } from 'node:sqlite';
import type { AdapterHooks, DeadLetterStore, SettleOutcome, StoredLetter, Topology } from '../../src/port.ts';
import { fromRow, laneName, MESSAGE_COLUMNS, toText } from './headers.ts';
import type { Registry } from './topology.ts';
import type { Writer } from './writer.ts';

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
  const remove = db.prepare('DELETE FROM hf_dead WHERE id = ? AND grp = ?');

  return (topology, name) => {
    const group = (): number => registry.group(topology.topic, name).id;

    async function each(
      letters: readonly StoredLetter[],
      step: (letter: number, group: number) => boolean,
    ): Promise<SettleOutcome[]> {
      const id = group();
      return writer.write(() => letters.map(({ handle }) => (step(handle as number, id) ? 'settled' : 'stale')), {
        durable: true,
        notify: true,
      });
    }

    return {
      async *scan({ pageSize, signal }) {
        const id = group();
        // Up to the newest of this moment: a letter that is replayed and dies again must not be met twice.
        const last = newest.get(id)?.id as number | null;
        let after = 0;
        while (last !== null && after < last) {
          signal?.throwIfAborted();
          const rows = page.all(id, after, last, pageSize);
          if (rows.length === 0) return;
          after = rows.at(-1)!.id as number;
          yield rows.map((row) => ({
            letterId: String(row.id),
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
      discard: (letters) => each(letters, (letter, id) => remove.run(letter, id).changes > 0),
      count: async () => count.get(group())!.count as number,
    };
  };
}
