import { DatabaseSync } from 'node:sqlite';
import { partitionOf } from 'holdfast';
import { flightReported, PARTITIONS } from '../topics.ts';
import type { RawBroker, RawLetter } from './raw-broker.ts';

/** The broker's file, by SQL. */
export function openSqlite(path: string): RawBroker {
  const db = new DatabaseSync(path, { timeout: 5_000 });
  const inGroup =
    'grp = (select g.id from hf_groups g join hf_topics t on t.id = g.topic where t.name = ? and g.name = ?)';
  const { name } = flightReported;
  return {
    async add({ id, key, body }) {
      const now = Date.now();
      db.prepare(
        `insert into hf_messages (grp, lane, shard, due, added_at, message_id, source, content_type, key, published_at, body)
         select g.id, 1, iif(g.ordered, ?, 0), 0, ?, ?, 'raw', 'application/json', ?, ?, ?
         from hf_groups g join hf_topics t on t.id = g.topic where t.name = ?`,
      ).run(partitionOf(key, PARTITIONS), now, id, key, now, body, name);
    },
    async left(group) {
      const row = db.prepare(`select count(*) as count from hf_messages where ${inGroup}`).get(name, group);
      return row?.count as number;
    },
    async dead(group) {
      const letters = db
        .prepare(`select message_id as id, marks ->> '$.reason' as reason from hf_dead where ${inGroup}`)
        .all(name, group);
      return letters as unknown as RawLetter[];
    },
    async close() {
      db.close();
    },
  };
}
