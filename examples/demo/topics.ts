import { defineTopic, type Topic } from 'holdfast';
import { z } from 'zod';

export interface Flight {
  /** The record's place in the file. */
  readonly seq: number;
  readonly date: string;
  readonly origin: string;
  readonly destination: string;
  /** Minutes; negative where it was early. */
  readonly delay: number;
  /** Miles. */
  readonly distance: number;
}

const flightSchema: z.ZodType<Flight, Flight> = z.object({
  seq: z.int().nonnegative(),
  date: z.string(),
  origin: z.string().length(3),
  destination: z.string().length(3),
  delay: z.int(),
  distance: z.int().nonnegative(),
});

export const groups = ['delays', 'board'] as const;
export type GroupName = (typeof groups)[number];

export const PARTITIONS = 4;

/** `delays` sums per airport, in whatever order; `board` must see each airport's flights in the order of the file. */
export const flightReported: Topic<Flight> = defineTopic('flight.reported', {
  schema: flightSchema,
  key: (flight) => flight.origin,
  partitions: PARTITIONS,
  groups: { delays: {}, board: { order: 'key' } },
});

const PREFIX = 'flight-';
export const idOf = (seq: number): string => PREFIX + seq;
/** Undefined for an id that is no flight's. */
export const seqOf = (id: string): number | undefined =>
  id.startsWith(PREFIX) ? Number(id.slice(PREFIX.length)) : undefined;

/** These make the handler of `delays` throw, whenever they come. */
export const alwaysFails = (seq: number): boolean => seq % 4_000 === 7;
