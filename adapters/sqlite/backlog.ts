import type { DatabaseSync } from 'node:sqlite';
import type { Backlog, Topology } from '../../src/port.ts';
import { LANE_NUMBERS } from './headers.ts';
import type { Registry } from './topology.ts';

export type CountBacklog = (topology: Topology, group: string) => Backlog;

/** Counts, exactly, by indexes alone. The age is that of the longest waiting ready message, 0 where none waits. */
export function createBacklog(db: DatabaseSync, registry: Registry): CountBacklog {
  const held = `c.owner <> 0 AND (c.until > ?2 AND c.until <> ${Number.MAX_SAFE_INTEGER}
    OR EXISTS (SELECT 1 FROM hf_shards s WHERE s.grp = c.grp AND s.owner = c.owner AND s.epoch = c.token AND s.until > ?2))`;
  const total = db.prepare('SELECT count(*) AS count FROM hf_messages WHERE grp = ?');
  const delayed = db.prepare('SELECT count(*) AS count FROM hf_messages WHERE grp = ? AND due > 0 AND due > ?');
  const inFlight = db.prepare(`SELECT count(*) AS count FROM hf_claims c WHERE c.grp = ?1 AND ${held}`);
  const dead = db.prepare('SELECT count(*) AS count FROM hf_dead WHERE grp = ?');
  const oldest = db.prepare(
    `SELECT min(since) AS since FROM (
       SELECT * FROM (SELECT m.added_at AS since FROM hf_messages m LEFT JOIN hf_claims c ON c.message = m.id
         WHERE m.grp = ?1 AND m.lane = ?3 AND m.shard = ?4 AND m.due = 0 AND (c.message IS NULL OR NOT (${held})) ORDER BY m.id LIMIT 1)
       UNION ALL
       SELECT * FROM (SELECT m.due FROM hf_messages m LEFT JOIN hf_claims c ON c.message = m.id
         WHERE m.grp = ?1 AND m.lane = ?3 AND m.shard = ?4 AND m.due > 0 AND m.due <= ?2 AND (c.message IS NULL OR NOT (${held}))
         ORDER BY m.due LIMIT 1))`,
  );

  return (topology, name) => {
    const group = registry.group(topology.topic, name);
    const now = Date.now();
    const held = count(inFlight.get(group.id, now));
    const later = count(delayed.get(group.id, now));
    let since = now;
    for (const lane of LANE_NUMBERS) {
      for (let shard = 0; shard < group.shards; shard += 1) {
        since = Math.min(since, (oldest.get(group.id, now, lane, shard)?.since as number | null) ?? now);
      }
    }
    return {
      ready: count(total.get(group.id)) - held - later,
      inFlight: held,
      delayed: later,
      dead: count(dead.get(group.id)),
      oldestAgeMs: now - since,
      exact: true,
    };
  };
}

function count(row: Readonly<Record<string, unknown>> | undefined): number {
  return row!.count as number;
}
