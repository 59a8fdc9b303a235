/** The same sums twice: from the file, and from the table that the handlers kept. */

import type { Flight } from './topics.ts';

export interface Totals {
  readonly flights: number;
  /** Minutes. */
  readonly delay: number;
  /** Miles. */
  readonly distance: number;
}

export function totalsOf(flights: Iterable<Flight>): ReadonlyMap<string, Totals> {
  const totals = new Map<string, Totals>();
  for (const { origin, delay, distance } of flights) {
    const before = totals.get(origin) ?? { flights: 0, delay: 0, distance: 0 };
    totals.set(origin, {
      flights: before.flights + 1,
      delay: before.delay + delay,
      distance: before.distance + distance,
    });
  }
  return totals;
}

/** How many airports do not have the same sums in both. */
export function differences(expected: ReadonlyMap<string, Totals>, found: ReadonlyMap<string, Totals>): number {
  const airports = new Set([...expected.keys(), ...found.keys()]);
  return [...airports].filter((airport) => !same(expected.get(airport), found.get(airport))).length;
}

function same(one: Totals | undefined, other: Totals | undefined): boolean {
  return one?.flights === other?.flights && one?.delay === other?.delay && one?.distance === other?.distance;
}
