/** The count: what was accepted, what became of it, and what must not have happened. */

import type { Evidence } from './evidence.ts';
import type { Entry } from './ledger-file.ts';
import { alwaysFails, type Flight, type GroupName, idOf, seqOf } from './topics.ts';
import { differences, totalsOf } from './totals.ts';

/** Messages of one group, each counted once. */
export interface GroupCount {
  readonly handled: number;
  /** Among its dead letters, by reason. */
  readonly dead: ReadonlyMap<string, number>;
  /**
   * Further copies of them. A killed relay leaves one where its message went out twice and the handler always fails; a
   * killed consumer, where the broker cannot move a message in one step.
   */
  readonly deadTwice: number;
  /** Given to it more than once; without those whose handler always fails, which are retried on purpose. */
  readonly redelivered: number;
  /** Neither handled nor dead. */
  readonly lost: number;
  /** Without reason: handled or dead, but never sent; dead, though its handler never fails or did its work; dead more often than delivered. */
  readonly unexpected: number;
}

export interface Ledger {
  /** Flights whose transaction was begun. */
  readonly written: number;
  /** Flights whose transaction was committed. */
  readonly accepted: number;
  readonly poisoned: number;
  readonly groups: Readonly<Record<GroupName, GroupCount>>;
  /** Deliveries that the inbox refused, their effect being there already. */
  readonly duplicatesStopped: number;
  /** Refusals for which there is no first effect or no second delivery to be found. */
  readonly duplicatesUnexplained: number;
  /** Effects beyond the first of each message. */
  readonly doubled: number;
  /** Flights that the board first saw after a later one of the same airport. */
  readonly inverted: number;
  /** Airports whose totals differ from the file's. */
  readonly totalsDiffer: number;
  /** What a process that killed itself held, by crash point. */
  readonly killed: ReadonlyMap<string, number>;
}

export function countLedger(evidence: Evidence, flights: readonly Flight[]): Ledger {
  const { entries, accepted, effects, letters } = evidence;
  const effected = new Set(effects);
  const board = firstHandlings(entries);
  const deliveries = deliveriesTo('delays', entries);
  const refused = entries.flatMap((entry) => (entry.event === 'duplicate' ? [entry.id] : []));
  const stopped = refused.filter((id) => effected.has(id) && (deliveries.get(id) ?? 0) > 1);
  const buried = new Set(letters.delays.map(({ id }) => id));
  const surviving = flights.filter(({ seq }) => accepted.has(idOf(seq)) && !buried.has(idOf(seq)));
  return {
    written: entries.filter(({ event }) => event === 'begin').length,
    accepted: accepted.size,
    poisoned: poisonOf(entries).size,
    groups: {
      delays: countGroup('delays', effected, evidence),
      board: countGroup('board', new Set(board), evidence),
    },
    duplicatesStopped: stopped.length,
    duplicatesUnexplained: refused.length - stopped.length,
    doubled: effects.length - effected.size,
    inverted: inversions(board, flights),
    totalsDiffer: differences(totalsOf(surviving), evidence.totals),
    killed: new Map(entries.flatMap((entry) => (entry.event === 'killed' ? [[entry.point, entry.held]] : []))),
  };
}

function countGroup(group: GroupName, handled: ReadonlySet<string>, evidence: Evidence): GroupCount {
  const { entries, accepted, letters } = evidence;
  const poison = poisonOf(entries);
  const dead = new Map(letters[group].map(({ id, reason }) => [id, reason]));
  const mayDie = (id: string): boolean =>
    poison.has(id) || (group === 'delays' && accepted.has(id) && failsByDesign(id));
  const deliveries = deliveriesTo(group, entries);
  const copies = tally(letters[group].map(({ id }) => id));
  const tooOften = [...copies].filter(([id, times]) => times > (deliveries.get(id) ?? 0));
  const repeated = [...deliveries].filter(([id, times]) => times > 1 && !failsByDesign(id));
  const wronglyDead = [...dead.keys()].filter((id) => !mayDie(id) || handled.has(id));
  return {
    handled: handled.size,
    dead: tally(dead.values()),
    deadTwice: letters[group].length - dead.size,
    redelivered: repeated.length,
    lost: [...accepted, ...poison].filter((id) => !handled.has(id) && !dead.has(id)).length,
    unexpected: wronglyDead.length + tooOften.length + [...handled].filter((id) => !accepted.has(id)).length,
  };
}

const failsByDesign = (id: string): boolean => alwaysFails(seqOf(id) ?? 0);

const poisonOf = (entries: readonly Entry[]): ReadonlySet<string> =>
  new Set(entries.flatMap((entry) => (entry.event === 'poisoned' ? [entry.id] : [])));

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
    if (flight.seq < (latest.get(flight.origin) ?? -1)) inverted += 1;
    else latest.set(flight.origin, flight.seq);
  }
  return inverted;
}

function deliveriesTo(group: GroupName, entries: readonly Entry[]): ReadonlyMap<string, number> {
  return tally(entries.flatMap((entry) => (entry.event === 'delivered' && entry.group === group ? entry.ids : [])));
}

function tally(names: Iterable<string>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
