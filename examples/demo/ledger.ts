/** The count: what was accepted, what became of it, and what must not have happened. */

import type { Evidence } from './evidence.ts';
import type { Entry } from './ledger-file.ts';
import { alwaysFails, type Flight, type GroupName, groups, idOf, seqOf } from './topics.ts';
import { differences, totalsOf } from './totals.ts';

export interface Ledger {
  /** Flights whose transaction was begun. */
  readonly written: number;
  /** Flights whose transaction was committed. */
  readonly accepted: number;
  readonly poisoned: number;
  /** Messages of each group that were handled, each counted once. */
  readonly handled: Readonly<Record<GroupName, number>>;
  /** Dead letters by `<group> <reason>`. */
  readonly dead: ReadonlyMap<string, number>;
  /** Messages that a group was given more than once; not those whose handler always fails, which are retried on purpose. */
  readonly redelivered: number;
  /** Deliveries that the inbox refused, their effect being there already. */
  readonly duplicatesStopped: number;
  /** Refusals for which there is no first effect or no second delivery to be found. */
  readonly duplicatesUnexplained: number;
  /** Effects beyond the first of each message. */
  readonly doubled: number;
  /** Messages that a group neither handled nor has among its dead letters. */
  readonly lost: number;
  /** Flights that the board first saw after a later one of the same airport. */
  readonly inverted: number;
  /** Handled or dead without reason: never accepted, or dead though its handler never fails, or dead and handled, or dead twice. */
  readonly unexpected: number;
  /** Airports whose totals differ from the file's. */
  readonly totalsDiffer: number;
  /** What each process that killed itself held. */
  readonly killed: ReadonlyMap<string, number>;
}

export function countLedger(evidence: Evidence, flights: readonly Flight[]): Ledger {
  const { entries, accepted, effects, letters } = evidence;
  const poison = new Set(entries.flatMap((entry) => (entry.event === 'poisoned' ? [entry.id] : [])));
  const board = firstHandlings(entries);
  const handled = { delays: new Set(effects), board: new Set(board) };
  const dead = { delays: letters.delays.map(({ id }) => id), board: letters.board.map(({ id }) => id) };
  const deliveries = { delays: deliveriesTo(entries, 'delays'), board: deliveriesTo(entries, 'board') };
  const refused = entries.flatMap((entry) => (entry.event === 'duplicate' ? [entry.id] : []));
  const stopped = refused.filter((id) => handled.delays.has(id) && (deliveries.delays.get(id) ?? 0) > 1);
  const sum = (count: (group: GroupName) => number): number => count('delays') + count('board');
  const surviving = flights.filter(({ seq }) => accepted.has(idOf(seq)) && !dead.delays.includes(idOf(seq)));
  return {
    written: entries.filter(({ event }) => event === 'begin').length,
    accepted: accepted.size,
    poisoned: poison.size,
    handled: { delays: handled.delays.size, board: handled.board.size },
    dead: byReason(letters),
    redelivered: sum((group) => repeated(deliveries[group])),
    duplicatesStopped: stopped.length,
    duplicatesUnexplained: refused.length - stopped.length,
    doubled: effects.length - handled.delays.size,
    lost: sum((group) => missing([accepted, poison], [handled[group], new Set(dead[group])])),
    inverted: inversions(board, flights),
    unexpected: sum((group) => unexpected(group, handled[group], dead[group], accepted, poison)),
    totalsDiffer: differences(totalsOf(surviving), evidence.totals),
    killed: new Map(entries.flatMap((entry) => (entry.event === 'killed' ? [[entry.point, entry.held]] : []))),
  };
}

/** What the board handled, in the order of first handlings over all of its processes. */
function firstHandlings(entries: readonly Entry[]): readonly string[] {
  const first = new Set<string>();
  for (const entry of entries) if (entry.event === 'handled' && entry.group === 'board') first.add(entry.id);
  return [...first];
}

function inversions(handlings: readonly string[], flights: readonly Flight[]): number {
  const latest = new Map<string, number>();
  let inverted = 0;
  for (const id of handlings) {
    const flight = flights[seqOf(id) ?? -1];
    if (flight === undefined) continue;
    const { seq, origin } = flight;
    if (seq < (latest.get(origin) ?? -1)) inverted += 1;
    else latest.set(origin, seq);
  }
  return inverted;
}

function deliveriesTo(entries: readonly Entry[], group: GroupName): ReadonlyMap<string, number> {
  const deliveries = new Map<string, number>();
  for (const entry of entries) {
    if (entry.event !== 'delivered' || entry.group !== group) continue;
    for (const id of entry.ids) deliveries.set(id, (deliveries.get(id) ?? 0) + 1);
  }
  return deliveries;
}

const repeated = (deliveries: ReadonlyMap<string, number>): number =>
  [...deliveries].filter(([id, times]) => times > 1 && !failsByDesign(id)).length;

const failsByDesign = (id: string): boolean => alwaysFails(seqOf(id) ?? 0);

function missing(all: readonly ReadonlySet<string>[], found: readonly ReadonlySet<string>[]): number {
  return all.flatMap((ids) => [...ids]).filter((id) => !found.some((ids) => ids.has(id))).length;
}

function unexpected(
  group: GroupName,
  handled: ReadonlySet<string>,
  dead: readonly string[],
  accepted: ReadonlySet<string>,
  poison: ReadonlySet<string>,
): number {
  const mayDie = (id: string): boolean =>
    poison.has(id) || (group === 'delays' && accepted.has(id) && failsByDesign(id));
  const once = new Set(dead);
  const wrongly = [...once].filter((id) => !mayDie(id) || handled.has(id)).length;
  return wrongly + (dead.length - once.size) + [...handled].filter((id) => !accepted.has(id)).length;
}

function byReason(letters: Evidence['letters']): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const group of groups) {
    for (const { reason } of letters[group]) {
      const name = `${group} ${reason}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return counts;
}
