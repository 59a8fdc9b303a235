/** All that the ledger is counted from: the processes' files, the database by SQL, the broker by its own client. */

import { type Entry, followLedgers } from './ledger-file.ts';
import type { RawBroker, RawLetter } from './raw/raw-broker.ts';
import type { DemoStore } from './stores.ts';
import { type GroupName, groups, idOf } from './topics.ts';
import type { Totals } from './totals.ts';

export interface Evidence {
  /** Of all processes, in the order of time. */
  readonly entries: readonly Entry[];
  /** Ids of the flights whose transaction, message included, was committed. */
  readonly accepted: ReadonlySet<string>;
  /** One id per effect that was committed. */
  readonly effects: readonly string[];
  readonly totals: ReadonlyMap<string, Totals>;
  readonly letters: Readonly<Record<GroupName, readonly RawLetter[]>>;
}

export async function gather(directory: string, { query }: DemoStore, broker: RawBroker): Promise<Evidence> {
  const [delays, board] = await Promise.all(groups.map((group) => broker.dead(group)));
  const flights = await query('select seq from flights');
  const effects = await query('select id from effects');
  const totals = await query('select origin, flights, delay, distance from totals');
  return {
    entries: followLedgers(directory)().sort((one, other) => one.at - other.at),
    accepted: new Set(flights.map(({ seq }) => idOf(seq as number))),
    effects: effects.map(({ id }) => id as string),
    totals: new Map(totals.map((row) => [row.origin as string, row as unknown as Totals])),
    letters: { delays: delays!, board: board! },
  };
}

export interface Left {
  /** Rows of the outbox. */
  readonly outbox: number;
  /** Messages on the broker. */
  readonly delays: number;
  readonly board: number;
}

/** What is still on its way. */
export async function whatIsLeft({ query, outboxTables }: DemoStore, broker: RawBroker): Promise<Left> {
  let outbox = 0;
  for (const table of outboxTables) outbox += Number((await query(`select count(*) as count from ${table}`))[0]?.count);
  return { outbox, delays: await broker.left('delays'), board: await broker.left('board') };
}
