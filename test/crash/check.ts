/** What the ledgers and the store's tables say, when all is over: what is missing, and what must not have happened. */

import { type Case, lives } from './case.ts';
import { messagesAtOnce } from './consume.ts';
import { type Entry, readLedgers } from './ledger.ts';
import { fateOf, groupsOf, having, idOf, isOrdered, numbers, parked, payloadOf } from './messages.ts';
import { type Evidence, readEvidence } from './stores.ts';

export interface Count {
  readonly accepted: number;
  /** Neither handled nor dead, and not discarded by the operator. */
  readonly lost: number;
  /** Handled, but never published, rolled back, or under another id. */
  readonly phantom: number;
  /** Effects beyond the first, in spite of inbox or dedupe store. */
  readonly doubled: number;
  /**
   * Effects beyond the first of a message that had several letters (it was published or copied twice), each of which was
   * edited: an edited letter is a message of its own, so that no inbox can know it for the other's (dead-letters.md).
   */
  readonly editedTwice: number;
  /** First handlings, in an ordered group, before those of earlier messages of their key. */
  readonly inverted: number;
  /** Dead letters that never failed for good, or whose effects were committed. */
  readonly handledAndDead: number;
  /** Deliveries beyond the first call that the message's fate asks for: allowed, and counted. */
  readonly again: number;
  /** Handler calls with more than one message. */
  readonly together: number;
}

export async function checkCase(what: Case): Promise<Count> {
  return count(readLedgers(what.folder, lives), await readEvidence(what), what);
}

export function count(
  entries: readonly Entry[],
  evidence: Evidence,
  { workload, handler }: Pick<Case, 'workload' | 'handler'>,
): Count {
  const accepted = acceptedOf(entries, evidence);
  const groups = groupsOf[workload];
  const sum = (of: (group: string) => number): number => groups.reduce((total, group) => total + of(group), 0);
  return {
    accepted: accepted.size,
    lost: sum((group) => lostOf(group, accepted, entries, evidence)),
    phantom: phantoms(entries, evidence),
    doubled: doubles(entries, evidence, messagesAtOnce[handler]),
    editedTwice: editsOfCopies(entries, evidence),
    inverted: sum((group) => (isOrdered(group) ? inversions(group, entries) : 0)),
    handledAndDead: sum((group) => wronglyDead(group, entries)),
    again: sum((group) => repeats(group, entries)),
    together: entries.filter((entry) => entry.event === 'batch' && entry.size > 1).length,
  };
}

/** What was told as accepted, and what is committed beside its outbox row though nobody lived to tell. */
function acceptedOf(entries: readonly Entry[], { business }: Evidence): ReadonlySet<number> {
  return new Set([...entries.flatMap((entry) => (entry.event === 'accepted' ? [entry.n] : [])), ...business]);
}

function lostOf(
  group: string,
  accepted: ReadonlySet<number>,
  entries: readonly Entry[],
  { effects }: Evidence,
): number {
  const handled =
    group === 'once' ? new Set(effects.map(({ n }) => n)) : new Set(handledBy(group, entries).map(({ n }) => n));
  const dead = new Set(
    entries.flatMap((entry) => (entry.event === 'letters' && entry.group === group ? entry.ns : [])),
  );
  const isThere = (n: number): boolean => {
    const fate = fateOf(group, n);
    return fate === 'dead' || fate === 'discarded' ? dead.has(n) : handled.has(n);
  };
  return [...accepted].filter((n) => !isThere(n)).length;
}

function phantoms(entries: readonly Entry[], { effects }: Evidence): number {
  const begun = new Set(entries.flatMap((entry) => (entry.event === 'begin' ? [entry.n] : [])));
  const edits = new Set(having('once', 'edited'));
  const strange = entries.filter(
    (entry) =>
      (entry.event === 'delivered' || entry.event === 'handled') &&
      // An edited message has an id of its own.
      (!begun.has(entry.n) || (entry.id !== idOf(entry.n) && !(entry.group === 'once' && edits.has(entry.n)))),
  );
  return strange.length + effects.filter(({ n, edited }) => !begun.has(n) || edited !== edits.has(n)).length;
}

/** `atOnce` is what a dedupe store cannot know: handled by one that was killed before it could say so (G4). */
function doubles(entries: readonly Entry[], { effects }: Evidence, atOnce: number): number {
  const effected = effects.length - new Set(effects.map(({ n }) => n)).size - editsOfCopies(entries, { effects });
  const near = handledBy('near', entries);
  // The last that each of the dead handled may be handled again.
  const unknown = new Set(
    lives
      .filter((life) => entries.some(({ event, by }) => event === 'killed' && by === life))
      .flatMap((life) =>
        near
          .filter(({ by }) => by === life)
          .slice(-atOnce)
          .map(({ n }) => n),
      ),
  );
  const twice = numbers.filter((n) => near.filter((entry) => entry.n === n).length > (unknown.has(n) ? 2 : 1));
  return effected + twice.length;
}

function editsOfCopies(entries: readonly Entry[], { effects }: Pick<Evidence, 'effects'>): number {
  const excess = having('once', 'edited').map((n) => {
    const letters = entries.flatMap((entry) =>
      entry.event === 'letters' && entry.group === 'once' ? entry.places.filter((_, at) => entry.ns[at] === n) : [],
    );
    return Math.min(effects.filter((effect) => effect.n === n).length, new Set(letters).size) - 1;
  });
  return excess.reduce((sum, each) => sum + Math.max(0, each), 0);
}

function inversions(group: string, entries: readonly Entry[]): number {
  const latest = new Map<string, number>();
  let inverted = 0;
  for (const n of new Set(handledBy(group, entries).map((entry) => entry.n))) {
    const { key } = payloadOf(n);
    if (n < (latest.get(key) ?? -1)) inverted += 1;
    latest.set(key, Math.max(n, latest.get(key) ?? -1));
  }
  return inverted;
}

/** Letters that are there at any time, of messages that never fail for good. */
function wronglyDead(group: string, entries: readonly Entry[]): number {
  const mayDie = new Set(having(group, 'replayed', 'edited', 'discarded', 'dead', 'halted'));
  // Behind a halted message, its key's others are parked as letters.
  if (group === 'stop') for (const n of parked) mayDie.add(n);
  const dead = new Set(
    entries.flatMap((entry) => (entry.event === 'letters' && entry.group === group ? entry.ns : [])),
  );
  const worthless = new Set(having(group, 'discarded', 'dead'));
  const handled = handledBy(group, entries).filter(({ n }) => worthless.has(n));
  return [...dead].filter((n) => !mayDie.has(n)).length + handled.length;
}

function repeats(group: string, entries: readonly Entry[]): number {
  const calls = entries.filter((entry) => entry.event === 'delivered' && entry.group === group).length;
  const asked = numbers.reduce(
    (total, n) => total + (['plain', 'discarded', 'dead'].includes(fateOf(group, n)) ? 1 : 2),
    0,
  );
  return Math.max(0, calls - asked);
}

interface Handled {
  readonly n: number;
  readonly by: string;
}
function handledBy(group: string, entries: readonly Entry[]): readonly Handled[] {
  return entries.flatMap((entry) =>
    entry.event === 'handled' && entry.group === group ? [{ n: entry.n, by: entry.by }] : [],
  );
}
