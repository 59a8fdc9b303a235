import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { Halt, HaltedKey, HaltStore } from '../../src/port.ts';
import type { Connection } from './store-connection.ts';
import { nowMs } from './store-schema.ts';

/** Keys that stand still, and the order of what waits for each. Steps are transactions: the write lock keeps them apart. */
export function haltStore(connection: Connection): HaltStore {
  return {
    async halted({ group, topic }, keys) {
      const found = await connection.read((db) => db.prepare(haltedStatement).all(group, topic, JSON.stringify(keys)));
      const halted = new Set(found.map((row) => row.key));
      return keys.map((key) => halted.has(key));
    },
    halt: (key, message, token) =>
      connection.write((db) => {
        db.prepare(haltStatement).run(...named(key));
        db.prepare(parkStatement).run(...named(key), message, token);
      }),
    admit: (key, message, token) =>
      connection.write((db) => {
        const halt = db.prepare(stateStatement).get(...named(key));
        if (halt === undefined) return 'free';
        db.prepare(parkStatement).run(...named(key), message, token);
        if (halt.releasing !== 1) return 'parked';
        return db.prepare(parkedStatement).get(...named(key), 1)?.message === message ? 'next' : 'parked';
      }),
    through: (key, message) =>
      connection.write((db) => {
        db.prepare(`${removeStatement} AND message = ?`).run(...named(key), message);
        freeIfEmpty(db, key);
      }),
    withdraw: (key, message, token) =>
      connection.write((db) => {
        db.prepare(`${removeStatement} AND message = ? AND token = ?`).run(...named(key), message, token);
        freeIfEmpty(db, key);
      }),
    release: (key) =>
      connection.write((db) => {
        freeIfEmpty(db, key);
        return db.prepare(releaseStatement).run(...named(key)).changes === 1;
      }),
    parked: (key, limit) =>
      connection.read((db) => {
        const halt = db.prepare(stateStatement).get(...named(key));
        if (halt === undefined) return undefined;
        const rows = db.prepare(parkedStatement).all(...named(key), limit);
        return { ...toHalt(halt), messages: rows.map((row) => String(row.message)) };
      }),
    async list({ group, topic }) {
      return (await connection.read((db) => db.prepare(listStatement).all(group, topic))).map(toHalt);
    },
  };
}

const named = ({ group, topic, key }: HaltedKey): [string, string, string] => [group, topic, key];

function freeIfEmpty(db: DatabaseSync, key: HaltedKey): void {
  db.prepare(freeStatement).run(...named(key), ...named(key));
}

function toHalt(row: Readonly<Record<string, SQLOutputValue>>): Halt {
  return {
    key: String(row.key),
    haltedAt: Number(row.halted_at),
    releasing: row.releasing === 1,
    parked: Number(row.parked),
  };
}

const haltedStatement = `
  SELECT key FROM holdfast_halted_keys
  WHERE "group" = ? AND topic = ? AND key IN (SELECT value FROM json_each(?))`;

const haltStatement = `
  INSERT INTO holdfast_halted_keys ("group", topic, key, halted_at) VALUES (?, ?, ?, ${nowMs})
  ON CONFLICT DO UPDATE SET releasing = 0`;

const parkStatement = `
  INSERT INTO holdfast_halted_messages ("group", topic, key, message, token) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT ("group", topic, key, message) DO UPDATE SET token = excluded.token`;

const parkedStatement = `
  SELECT message FROM holdfast_halted_messages WHERE "group" = ? AND topic = ? AND key = ? ORDER BY seq LIMIT ?`;

const removeStatement = 'DELETE FROM holdfast_halted_messages WHERE "group" = ? AND topic = ? AND key = ?';

const freeStatement = `
  DELETE FROM holdfast_halted_keys WHERE "group" = ? AND topic = ? AND key = ? AND NOT EXISTS (
    SELECT 1 FROM holdfast_halted_messages WHERE "group" = ? AND topic = ? AND key = ?)`;

const releaseStatement = `
  UPDATE holdfast_halted_keys SET releasing = 1 WHERE "group" = ? AND topic = ? AND key = ?`;

const summary = `
  SELECT key, halted_at, releasing, (
    SELECT count(*) FROM holdfast_halted_messages AS waiting
    WHERE waiting."group" = halted."group" AND waiting.topic = halted.topic AND waiting.key = halted.key
  ) AS parked
  FROM holdfast_halted_keys AS halted WHERE "group" = ? AND topic = ?`;

const stateStatement = `${summary} AND key = ?`;
const listStatement = `${summary} ORDER BY halted_at, key`;
