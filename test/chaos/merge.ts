/** All that is judged, merged into one SQLite file: the processes' ledgers, and what was found when they had ended. */

import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import type { Found } from './drain.ts';
import { type Entry, readLedgers } from './ledger-file.ts';
import { checkOf, groups } from './topics.ts';

const SCHEMA = `
  create table msg (id text primary key, route text, topic text, key text, seq integer, "from" integer, "to" integer, amount integer) without rowid;
  create table call (id text, n integer, proc text, t0 real, t1 real, outcome text, code text, primary key (id, n)) without rowid;
  create table business (id text, key text, seq integer);
  create table delivery (id text, grp text, proc text, at real);
  create table run (id text, grp text, proc text, attempt integer, t0 real, t1 real, failed integer);
  create table handled (id text, grp text, proc text, at real);
  create table duplicate (id text, grp text, proc text, at real);
  create table buried (id text, grp text, reason text, attempts integer, at real);
  create table effect (ord integer, id text, grp text, key text, seq integer, proc text);
  create table dead (id text, grp text, reason text, attempts integer, good integer);
  create table mismatch (id text, grp text);
  create table rejection (proc text, text text);
  create table sample (proc text, at real, rss integer, fds integer, lag real);
  create table fault (kind text, target text, name text, t0 real, t1 real, hit integer);
  create table process (name text, how text, expected integer, at real);
  create table balance (at real, sum integer);
  create table account (id integer, balance integer);
  create table residue (name text, count integer);`;

const INDEXES = `
  create index delivery_id on delivery (grp, id, at);
  create index run_id on run (grp, id);
  create index effect_id on effect (grp, id);
  create index dead_id on dead (grp, id);
  create index handled_at on handled (at);
  create index call_t1 on call (t1);
  create table accepted as
    select id from call where outcome = 'ok' and id in (select id from msg where route = 'direct')
    union select id from business;
  create unique index accepted_id on accepted (id);
  create table due as select msg.id, msg.key, msg.seq, grps.grp from accepted join msg using (id)
    join (select 'chaos.items' topic, 'pool' grp union all select 'chaos.items', 'line' union all select 'chaos.transfers', 'bank') grps
    using (topic);
  create unique index due_id on due (grp, id);`;

export interface Evidence {
  readonly db: DatabaseSync;
  /** Lines that a kill cut off. */
  readonly cutOff: number;
}

export async function merge(directory: string, found: Found): Promise<Evidence> {
  const db = new DatabaseSync(join(directory, 'ledger.db'));
  db.exec(`pragma journal_mode = off; pragma synchronous = off; begin; ${SCHEMA}`);
  let cutOff = 0;
  const write = writerInto(db);
  for await (const entry of readLedgers(directory, () => (cutOff += 1))) record(entry, write);
  for (const { id, key, seq } of found.business) write('insert into business values (?, ?, ?)', id, key, seq);
  for (const { ord, id, grp, key, seq, proc } of found.effects)
    write('insert into effect values (?, ?, ?, ?, ?, ?)', ord, id, grp, key, seq, proc);
  for (const { id, balance } of found.accounts) write('insert into account values (?, ?)', id, balance);
  for (const [name, count] of found.residue) write('insert into residue values (?, ?)', name, count);
  for (const group of groups) {
    for (const { id, reason, attempts, check } of found.letters[group])
      write('insert into dead values (?, ?, ?, ?, ?)', id, group, reason, attempts, check === checkOf(id) ? 1 : 0);
  }
  db.exec(`${INDEXES} commit`);
  return { db, cutOff };
}

type Write = (statement: string, ...values: readonly unknown[]) => void;

function writerInto(db: DatabaseSync): Write {
  const prepared = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  return (statement, ...values) => {
    const known = prepared.get(statement) ?? db.prepare(statement);
    prepared.set(statement, known);
    known.run(...values.map((value) => (value ?? null) as SQLInputValue));
  };
}

function record(entry: Entry, write: Write): void {
  const { at, p } = entry;
  switch (entry.e) {
    case 'begin': {
      const { id, n, route, topic, key, seq, from, to, amount } = entry;
      write('insert or ignore into msg values (?, ?, ?, ?, ?, ?, ?, ?)', id, route, topic, key, seq, from, to, amount);
      write('insert into call (id, n, proc, t0) values (?, ?, ?, ?)', id, n, p, at);
      return;
    }
    case 'end':
      write(
        'update call set t1 = ?, outcome = ?, code = ? where id = ? and n = ?',
        at,
        entry.outcome,
        entry.code,
        entry.id,
        entry.n,
      );
      return;
    case 'delivered':
      for (const id of entry.ids) write('insert into delivery values (?, ?, ?, ?)', id, entry.g, p, at);
      return;
    case 'called':
      write(
        'insert into run (id, grp, proc, attempt, t0) values (?, ?, ?, ?, ?)',
        entry.id,
        entry.g,
        p,
        entry.attempt,
        at,
      );
      return;
    case 'ran':
      write(
        'insert into run (id, grp, proc, t1, failed) values (?, ?, ?, ?, ?)',
        entry.id,
        entry.g,
        p,
        at,
        entry.failed ? 1 : 0,
      );
      return;
    case 'handled':
    case 'duplicate':
      write(`insert into ${entry.e} values (?, ?, ?, ?)`, entry.id, entry.g, p, at);
      return;
    case 'dead':
      write('insert into buried values (?, ?, ?, ?, ?)', entry.id, entry.g, entry.reason, entry.attempts, at);
      return;
    case 'mismatch':
      write('insert into mismatch values (?, ?)', entry.id, entry.g);
      return;
    case 'rejection':
      write('insert into rejection values (?, ?)', p, entry.text);
      return;
    case 'sample':
      write('insert into sample values (?, ?, ?, ?, ?)', p, at, entry.rss, entry.fds, entry.lag);
      return;
    case 'fault':
      write(
        'insert into fault values (?, ?, ?, ?, ?, ?)',
        entry.kind,
        entry.target,
        entry.name,
        entry.begin,
        entry.up,
        entry.hit ? 1 : 0,
      );
      return;
    case 'process':
      write('insert into process values (?, ?, ?, ?)', entry.name, entry.how, entry.expected ? 1 : 0, at);
      return;
    case 'balance':
      write('insert into balance values (?, ?)', at, entry.sum);
  }
}
