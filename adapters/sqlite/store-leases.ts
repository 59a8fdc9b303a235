import type { DatabaseSync } from 'node:sqlite';
import type { OutboxRelayStore, ShardLease } from '../../src/port.ts';
import type { Connection } from './store-connection.ts';
import { nowMs } from './store-schema.ts';

/** How long the heartbeat of a relay that is gone is kept. */
const forgottenMs = 3_600_000;

/**
 * Who relays which shard, by the machine's clock. A relay's share depends on its place among the live ones, so that the
 * shares are even and add up to all shards. What it hands over is free at once; until another relay takes it, its epoch
 * stays, and what was already published can still be settled.
 */
export function shardLeases(connection: Connection): Pick<OutboxRelayStore, 'lease' | 'release'> {
  return {
    lease: (owner, ttlMs) => connection.write((db) => renewAndTake(db, owner, Math.ceil(ttlMs))),
    release: (owner) =>
      connection.write((db) => {
        db.prepare('UPDATE holdfast_outbox_leases SET owner = NULL, until = 0 WHERE owner = ?').run(owner);
        db.prepare('DELETE FROM holdfast_outbox_relays WHERE owner = ?').run(owner);
      }),
  };
}

function renewAndTake(db: DatabaseSync, owner: string, ttlMs: number): readonly ShardLease[] {
  const now = Number(db.prepare(`SELECT ${nowMs} AS now`).get()?.now);
  const size = shareOf(db, owner, now, ttlMs);
  const own = db.prepare('SELECT shard, epoch FROM holdfast_outbox_leases WHERE owner = ? ORDER BY shard').all(owner);
  const free = db
    .prepare(
      'SELECT shard, epoch + 1 AS epoch FROM holdfast_outbox_leases WHERE owner IS NOT ? AND until <= ? ORDER BY shard LIMIT ?',
    )
    .all(owner, now, Math.max(0, size - own.length));
  const held = [...own.slice(0, size), ...free].map(toLease);
  const hold = db.prepare('UPDATE holdfast_outbox_leases SET owner = ?, epoch = ?, until = ? WHERE shard = ?');
  for (const { shard, epoch } of held) hold.run(owner, epoch, now + ttlMs, shard);
  for (const { shard, epoch } of own.slice(size).map(toLease)) hold.run(null, epoch, 0, shard);
  return held.sort((a, b) => a.shard - b.shard);
}

/** Its heartbeat, then how many shards are its own among the live relays. */
function shareOf(db: DatabaseSync, owner: string, now: number, ttlMs: number): number {
  db.prepare('DELETE FROM holdfast_outbox_relays WHERE until < ?').run(now - forgottenMs);
  db.prepare('INSERT OR REPLACE INTO holdfast_outbox_relays (owner, until) VALUES (?, ?)').run(owner, now + ttlMs);
  const counted = db
    .prepare(
      `SELECT count(*) AS relays, count(*) FILTER (WHERE owner < ?) AS place,
         (SELECT count(*) FROM holdfast_outbox_leases) AS shards
       FROM holdfast_outbox_relays WHERE until > ? OR owner = ?`,
    )
    .get(owner, now, owner);
  const { relays, place, shards } = counted as { relays: number; place: number; shards: number };
  return Math.floor(shards / relays) + (place < shards % relays ? 1 : 0);
}

function toLease(row: Record<string, unknown>): ShardLease {
  return { shard: Number(row.shard), epoch: Number(row.epoch) };
}
