/** The invariants, counted from the evidence alone. */

import type { DatabaseSync } from 'node:sqlite';
import type { Evidence } from './merge.ts';
import { quantile, recoveries } from './recovery.ts';
import { ACCOUNTS, designOf, type GroupName, OPENING_BALANCE } from './topics.ts';

export interface Facts {
  readonly attempted: number;
  readonly accepted: number;
  readonly notSent: number;
  readonly unknown: number;
  /** Outcome unknown, or the process died over it; yet it came out. */
  readonly recovered: number;
  readonly rolledBack: number;
  readonly handled: number;
  readonly dead: number;
  readonly duplicates: number;
  readonly refused: number;
  readonly faults: readonly { readonly what: string; readonly times: number; readonly missed: number }[];
  readonly recovery: ReturnType<typeof recoveries>;
  readonly publishMs: { readonly p50: number; readonly p99: number };
  readonly maxAttempts: number;
  readonly snapshots: number;
  readonly overlapping: number;
  readonly cutOff: number;
  readonly residue: readonly { readonly name: string; readonly count: number }[];
  readonly rssMb: number;
  /** Whatever must be 0, by name, with some examples. */
  readonly violations: ReadonlyMap<string, Violation>;
}
export interface Violation {
  readonly count: number;
  readonly examples: readonly string[];
}

export interface Limits {
  readonly publishTimeoutMs: number;
  readonly maxAttempts: number;
  /** Of its attempts, at most so many follow each other at once, without a word to the broker. */
  readonly callsPerDelivery: number;
  /** Processes that had to be killed when they were asked to end. */
  readonly late: readonly string[];
}

/** What a fault leaves behind: connections that are found dead by their heartbeats, leases that run out. */
const AFTERMATH_MS = 30_000;
/** While a fault goes on, a delivery may be lost and come again so often. */
const AGAIN_MS = 5_000;

/** One column, `what`: an example each. */
const MUST_BE_NONE: Readonly<Record<string, string>> = {
  LOST: `select grp || ' ' || id what from due where not exists (select 1 from effect e where e.grp = due.grp and e.id = due.id)
    and not exists (select 1 from dead d where d.grp = due.grp and d.id = due.id)`,
  PHANTOM: `select 'delivered, never attempted: ' || id what from delivery where id not in (select id from msg)
    union all select 'rolled back, delivered: ' || d.id from delivery d join call c using (id) where c.outcome = 'rolled-back'
    union all select 'changed on its way: ' || id from mismatch
    union all select 'a dead letter that was changed: ' || id from dead where not good
    union all select 'of the outbox, delivered, without its business row: ' || d.id from delivery d join msg m using (id)
      where m.route = 'outbox' and d.id not in (select id from business)`,
  DOUBLE: `select grp || ' ' || id || ' ' || count(*) || ' times' what from effect group by grp, id having count(*) > 1`,
  INVERTED: `select key || ': ' || seq || ' after ' || before what from (
      select key, seq, lag(seq) over (partition by key order by ord) before from (
        select e.key, e.seq, min(e.ord) ord from effect e where e.grp = 'line'
          and exists (select 1 from call c where c.id = e.id and c.outcome = 'ok') group by e.key, e.seq))
    where before > seq`,
  BOTH: `select distinct d.grp || ' ' || d.id || ' handled and dead as well' what from dead d join effect e using (grp, id)`,
  'FALSE FAILURE': `select 'not sent, yet delivered: ' || id what from (select id from call group by id having min(outcome = 'not-sent') = 1 and count(*) = count(outcome))
      where id in (select id from delivery)`,
  REJECTIONS: `select proc || ': ' || substr(text, 1, 300) what from rejection`,
  EXITS: `select name || ': ' || how what from process where not expected`,
  RESIDUE: `select name || ': ' || count what from residue where count <> 0`,
};

export function judge({ db, cutOff }: Evidence, limits: Limits): Facts {
  const violations = new Map(
    Object.entries(MUST_BE_NONE).map(([name, statement]) => [
      name,
      violation((db.prepare(statement).all() as { what: string }[]).map(({ what }) => what)),
    ]),
  );
  violations.set('STUCK', violation([...stuckCalls(db, limits), ...limits.late.map((name) => `${name} did not end`)]));
  violations.set('WRONGLY DEAD', violation(wronglyDead(db)));
  violations.set('ATTEMPTS', violation(tooManyCalls(db, limits)));
  violations.set('BANK', violation(bank(db)));
  const one = (statement: string): number => Number(Object.values(db.prepare(statement).get()!)[0] ?? 0);
  const latency = `select t1 - t0 from call where outcome = 'ok' and id in (select id from msg where route = 'direct')`;
  const latencies = (db.prepare(`${latency} order by 1`).all() as Record<string, number>[]).map(
    (row) => Object.values(row)[0]!,
  );
  return {
    attempted: one('select count(*) from msg'),
    accepted: one('select count(*) from accepted'),
    notSent: one(`select count(*) from call where outcome = 'not-sent'`),
    unknown: one(`select count(*) from call where outcome = 'unknown' or outcome is null`),
    recovered: one(`select count(distinct id) from call where (outcome = 'unknown' or outcome is null)
      and id not in (select id from call where outcome = 'ok') and id in (select id from delivery)`),
    rolledBack: one(`select count(*) from call where outcome = 'rolled-back'`),
    handled: one('select count(*) from (select distinct grp, id from effect)'),
    dead: one('select count(*) from (select distinct grp, id from dead)'),
    duplicates:
      one(`select count(*) from (select grp, id, count(*) - 1 - (select count(*) from run r where r.grp = d.grp and r.id = d.id and r.failed) more
      from delivery d group by grp, id having more > 0)`),
    refused: one('select count(*) from duplicate'),
    faults: db
      .prepare(
        `select kind || ' ' || target what, count(*) times, sum(not hit) missed from fault group by 1 order by 1`,
      )
      .all() as unknown as Facts['faults'],
    recovery: recoveries(db),
    publishMs: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) },
    maxAttempts: one('select max(attempt) from run'),
    snapshots: one('select count(*) from balance'),
    overlapping:
      one(`select count(*) from (select grp, id, t0, lead(t0) over w nxt, lead(proc) over w other, proc from run
      where t0 is not null window w as (partition by grp, id order by t0)) a where other <> proc
      and not exists (select 1 from run r where r.grp = a.grp and r.id = a.id and r.proc = a.proc and r.t1 between a.t0 and a.nxt)`),
    cutOff,
    residue: db.prepare('select name, count from residue where count <> 0').all() as unknown as Facts['residue'],
    rssMb: Math.round(one('select max(rss) from sample') / 2 ** 20),
    violations,
  };
}

const violation = (all: readonly string[]): Violation => ({ count: all.length, examples: all.slice(0, 5) });

const column = (db: DatabaseSync, statement: string): string[] =>
  db
    .prepare(statement)
    .all()
    .map((row) => String(Object.values(row)[0]));

/** Direct publishes without an outcome by their deadline + 1 s, less what their process was frozen for. */
function stuckCalls(db: DatabaseSync, { publishTimeoutMs }: Limits): readonly string[] {
  const rows = db
    .prepare(`select c.id, c.t0, coalesce(c.t1, (select at from process p where p.name = c.proc), 9e18) t1,
      (select coalesce(sum(min(f.t1, coalesce(c.t1, 9e18)) - max(f.t0, c.t0)), 0) from fault f
        where f.kind = 'pause' and f.name = c.proc and f.t1 > c.t0 and f.t0 < coalesce(c.t1, 9e18)) frozen
      from call c join msg m using (id) where m.route = 'direct'
      and coalesce(c.t1, (select at from process p where p.name = c.proc), 9e18) - c.t0 > ${publishTimeoutMs + 1_000}`)
    .all() as { id: string; t0: number; t1: number; frozen: number }[];
  return rows
    .filter(({ t0, t1, frozen }) => t1 - t0 - frozen > publishTimeoutMs + 1_000)
    .map(({ id, t0, t1, frozen }) => `${id}: ${Math.round(t1 - t0 - frozen)} ms`);
}

/** Dead, though by design its handler succeeds in the end. */
function wronglyDead(db: DatabaseSync): readonly string[] {
  const rows = db
    .prepare('select d.grp, d.id, d.reason, d.attempts, m.seq from dead d left join msg m using (id)')
    .all();
  return (rows as { grp: GroupName; id: string; reason: string; attempts: number; seq: number }[])
    .filter(({ grp, seq }) => !['refused', 'fails-always'].includes(designOf(grp, seq)))
    .map(({ grp, id, reason, attempts }) => `${grp} ${id}: ${reason} after ${attempts}`);
}

/**
 * Attempts numbered above the policy's most; and calls in all above it, for each copy that died. A fault meanwhile may have
 * taken the settlement of one delivery, whose calls are then made again; a long one, of one every few seconds.
 */
function tooManyCalls(db: DatabaseSync, { maxAttempts, callsPerDelivery }: Limits): readonly string[] {
  return column(
    db,
    `select distinct grp || ' ' || id || ' attempt ' || attempt from run where attempt > ${maxAttempts}
     union all select grp || ' ' || id || ' called ' || calls || ' times' from (
       select grp, id, count(*) calls, min(t0) t0, max(t0) t1 from run where t0 is not null group by grp, id) r
     where calls > ${maxAttempts} * (select max(1, count(*)) from dead d where d.grp = r.grp and d.id = r.id)
       + ${callsPerDelivery} * (select count(*) + coalesce(sum(cast((f.t1 - f.t0) / ${AGAIN_MS} as integer)), 0) from fault f where f.t0 < r.t1 and f.t1 + ${AFTERMATH_MS} > r.t0)`,
  );
}

/** In each snapshot nothing was lost or made; in the end each account has what its transfers say, each booked once. */
function bank(db: DatabaseSync): readonly string[] {
  const sum = ACCOUNTS * OPENING_BALANCE;
  const wrong = column(db, `select 'a snapshot had ' || sum || ' instead of ${sum}' from balance where sum <> ${sum}`);
  const accounts = column(
    db,
    `with booked as (select distinct m.id, m."from", m."to", m.amount from effect e join msg m using (id) where e.grp = 'bank')
     select 'account ' || a.id || ' has ' || a.balance from account a where a.balance <> ${OPENING_BALANCE}
       + coalesce((select sum(amount) from booked where "to" = a.id), 0)
       - coalesce((select sum(amount) from booked where "from" = a.id), 0)`,
  );
  return [...wrong, ...accounts];
}
