import type { QueueArguments } from './topology.ts';

// A delay is a path down a ladder of queues whose messages expire after a fixed time. What leaves rung 5000 goes to the
// exchange `<ladder>:5000`, keeps its routing key `<lane>.<partition>.<rung>.<rung>…`, and is led by it to the next rung
// or, after the last, to where it belongs. So the broker moves it alone, by its own clock, and no client has to live.
// Rungs of a path differ: RabbitMQ drops a message that expires into a queue it has expired from before.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Rungs in milliseconds, largest first. Times that people choose are one hop; no delay needs more than four. */
export const RUNGS: readonly number[] = [
  ...[32, 16, 8, 4, 2, 1].map((days) => days * DAY),
  ...[16, 8, 4, 2, 1].map((hours) => hours * HOUR),
  ...[30, 20, 10, 5, 4, 2, 1].map((minutes) => minutes * MINUTE),
  ...[30, 20, 10, 5, 4, 2, 1, 0.5, 0.25].map((seconds) => seconds * SECOND),
];

/** Longer delays than this are refused, and longer retries are made up of several. */
export const MAX_DELAY_MS: number = 60 * DAY;

/**
 * The rungs that make up a delay: never shorter than it, and longer by at most max(500 ms, 8 %), which leaves room for the
 * hops within the promised max(1 s, 10 %).
 */
export function rungsFor(delayMs: number): readonly number[] {
  const slack = Math.max(500, delayMs * 0.08);
  const path: number[] = [];
  let left = delayMs;
  for (let index = 0; left > 0; index++) {
    const rung = RUNGS[index]!;
    const next = RUNGS[index + 1];
    const closes = rung >= left && (next === undefined || next < left) && rung - left <= slack;
    if (!closes && rung > left && next !== undefined) continue;
    path.push(rung);
    left -= rung;
  }
  return path;
}

export function rungArguments(ladder: string, rung: number): QueueArguments {
  return {
    'x-message-ttl': rung,
    'x-dead-letter-exchange': rungName(ladder, rung),
    // Without reject-publish this would silently be at most once.
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  };
}

/** Of the queue, and of the exchange that its messages leave by. */
export function rungName(ladder: string, rung: number): string {
  return `${ladder}:${rung}`;
}

export const entryPattern = (rung: number): string => `*.*.${rung}.#`;
export const stepPattern = (from: number, to: number): string => `*.*.#.${from}.${to}.#`;
export const exitPattern = (rung: number): string => `#.${rung}`;
