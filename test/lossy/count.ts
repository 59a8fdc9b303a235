/** What was confirmed, by the ledger, against what is there, by the server's own client. */

import { type Outcome, readLedgers } from '../chaos/ledger-file.ts';

export interface Round {
  /** No other round has it. */
  readonly topic: string;
  /** By the ledger's clock. */
  readonly killedAt: number;
  /** Ids, one as often as it was found. */
  readonly found: readonly string[];
}

export interface Count {
  readonly rounds: number;
  readonly accepted: number;
  readonly notSent: number;
  readonly unknown: number;
  /** Accepted, and not there. */
  readonly lost: number;
  /** There, and never sent, or reported as not sent. */
  readonly phantom: number;
  /** There more than once. */
  readonly doubled: number;
  /** Of each round that lost: from the last confirm that survived, before the oldest that did not, to the kill. */
  readonly windowsMs: readonly number[];
  /** Lines of the ledger that a kill or a full disk has cut off. */
  readonly cutOff: number;
}

interface Call {
  readonly outcome: Outcome | undefined;
  readonly at: number;
}

export async function countRounds(directory: string, rounds: readonly Round[]): Promise<Count> {
  const topics = new Map<string, Map<string, Call>>(rounds.map(({ topic }) => [topic, new Map()]));
  const topicsOfIds = new Map<string, string>();
  let cutOff = 0;
  const lines = readLedgers(directory, () => {
    cutOff += 1;
  });
  for await (const line of lines) {
    if (line.e === 'begin') {
      topicsOfIds.set(line.id, line.topic);
      topics.get(line.topic)?.set(line.id, { outcome: undefined, at: line.at });
    } else if (line.e === 'end') {
      const { outcome, at } = line;
      topics.get(topicsOfIds.get(line.id) ?? '')?.set(line.id, { outcome, at });
    }
  }
  const counts = rounds.map((round) => countRound(topics.get(round.topic)!, round));
  const sum = (of: (count: Omit<Count, 'rounds' | 'cutOff'>) => number): number =>
    counts.reduce((total, count) => total + of(count), 0);
  return {
    rounds: rounds.length,
    accepted: sum(({ accepted }) => accepted),
    notSent: sum(({ notSent }) => notSent),
    unknown: sum(({ unknown }) => unknown),
    lost: sum(({ lost }) => lost),
    phantom: sum(({ phantom }) => phantom),
    doubled: sum(({ doubled }) => doubled),
    windowsMs: counts.flatMap(({ windowsMs }) => windowsMs),
    cutOff,
  };
}

function countRound(calls: ReadonlyMap<string, Call>, { killedAt, found }: Round): Omit<Count, 'rounds' | 'cutOff'> {
  const there = new Set<string>();
  const repeats = new Set<string>();
  for (const id of found) (there.has(id) ? repeats : there).add(id);
  const having = (...outcomes: (Outcome | undefined)[]): string[] =>
    [...calls].filter(([, { outcome }]) => outcomes.includes(outcome)).map(([id]) => id);
  const accepted = having('ok');
  const lost = accepted.filter((id) => !there.has(id));
  const isPhantom = (id: string): boolean => {
    const call = calls.get(id);
    return call === undefined || call.outcome === 'not-sent' || call.outcome === 'rolled-back';
  };
  return {
    accepted: accepted.length,
    notSent: having('not-sent', 'rolled-back').length,
    // One that never ended is one whose process did.
    unknown: having('unknown', undefined).length,
    lost: lost.length,
    phantom: [...there].filter(isPhantom).length,
    doubled: repeats.size,
    windowsMs: lost.length === 0 ? [] : [windowOf(calls, accepted, new Set(lost), killedAt)],
  };
}

function windowOf(
  calls: ReadonlyMap<string, Call>,
  accepted: readonly string[],
  lost: ReadonlySet<string>,
  killedAt: number,
): number {
  const at = (id: string): number => calls.get(id)!.at;
  const oldestLost = Math.min(...[...lost].map(at));
  const survivors = accepted.filter((id) => !lost.has(id) && at(id) <= oldestLost).map(at);
  // Where nothing survived, all since the first confirm is lost.
  const from = survivors.length === 0 ? oldestLost : Math.max(...survivors);
  return Math.max(0, killedAt - from);
}
