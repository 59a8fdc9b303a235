import type { KafkaRecord } from './client.ts';
import { originOf } from './headers.ts';

/**
 * A ladder is one topic with one partition per rung; partition n rests each record for `RUNGS[n]` milliseconds. On a
 * rung all rest equally long, so their dues rise along the partition and only its head needs watching. A longer delay
 * goes down from rung to rung. The first rung rests for nothing: replays.
 *
 * Constants of the topology: a rung may be added at the end, none may change.
 */
export const RUNGS: readonly number[] = [0, 250, 1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000];

/** What would be left after a rung and is not worth another: it is waited for at the head. */
const SLACK_MS = 100;

/** The longest rung that does not overshoot; the shortest where all do. */
export function rungFor(waitMs: number): number {
  if (waitMs <= 0) return 0;
  for (let rung = RUNGS.length - 1; rung > 1; rung--) if (RUNGS[rung]! <= waitMs) return rung;
  return 1;
}

export type Ripeness =
  | { readonly kind: 'due' }
  /** Down to another rung, with so much left to wait. */
  | { readonly kind: 'hop'; readonly waitMs: number }
  /** Epoch milliseconds on the broker's clock. */
  | { readonly kind: 'resting'; readonly until: number };

/** What is to be done with the head of a rung at `now`, on the broker's clock. */
export function ripeness(record: KafkaRecord, rung: number, now: number): Ripeness {
  const since = record.timestamp ?? now;
  const { waitMs } = originOf(record);
  const dueAt = since + waitMs;
  const restsUntil = since + Math.min(waitMs, RUNGS[rung] ?? 0);
  if (now < restsUntil) return { kind: 'resting', until: restsUntil };
  if (dueAt <= now) return { kind: 'due' };
  return dueAt - now <= SLACK_MS ? { kind: 'resting', until: dueAt } : { kind: 'hop', waitMs: dueAt - now };
}
