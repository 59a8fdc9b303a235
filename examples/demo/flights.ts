import { readFile } from 'node:fs/promises';
import type { Flight } from './topics.ts';

/** The first `count` of 20,000 real flights of the year 2001, in the order of their departure. */
export async function readFlights(count: number): Promise<readonly Flight[]> {
  const file = new URL('../data/flights-20k.json', import.meta.resolve('vega-datasets'));
  const records = JSON.parse(await readFile(file, 'utf8')) as readonly Omit<Flight, 'seq'>[];
  return records.slice(0, count).map((record, seq) => ({ seq, ...record }));
}
