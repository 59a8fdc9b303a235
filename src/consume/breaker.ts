/** A consumer's circuit breaker: while handlers keep failing it holds the consumer, and what fails then costs no attempt (G10). */

import { type Check, count, func, positiveMs } from '../options.ts';
import type { Work } from './work.ts';

export interface ConsumerBreakerOptions {
  /**
   * Opens after this many failed handler calls in a row, of two messages or more: one that fails alone is bad itself,
   * and meets its retry policy. @default 10, none where `errorPercent`, `minCalls` or `windowMs` is given
   */
  readonly failures?: number;
  /** Opens when at least this share of the handler calls within `windowMs` failed, in percent. @default 50 where `minCalls` or `windowMs` is given */
  readonly errorPercent?: number;
  /** … and there were at least this many. @default 10 */
  readonly minCalls?: number;
  /** @default 10_000 */
  readonly windowMs?: number;
  /** Open for this long, then one message at a time probes until one succeeds. @default 10_000 */
  readonly resetMs?: number;
  /** Which errors speak of an outage. @default all but DeadLetter, RetryLater and what `classify` dead-letters, which never do */
  readonly counts?: (error: unknown) => boolean;
}

export type BreakerState = 'closed' | 'open' | 'half-open';

/** No call was made, nor is one to be for so long: the breaker is open, or a suspect's call could not be counted. */
export class NotEntered extends Error {
  override readonly name: string = 'NotEntered';
  readonly delayMs: number;
  constructor(delayMs: number) {
    super('the handler was not called');
    this.delayMs = delayMs;
  }
}

/** Told of every handler call. */
export interface ConsumerBreaker {
  readonly state: BreakerState;
  /** What holds the consumer, for people. */
  readonly why: string;
  /** While it is half-open: how much longer only what has not failed here may probe. */
  readonly freshMs: number;
  /** A call for this message (and those batched with it) begins, or NotEntered is thrown. In a half-open breaker the first becomes the probe. */
  enter(work: Work, batched?: readonly Work[]): void;
  succeeded(work: Work): void;
  /** Undefined: the failure is the message's own. Else the message waits this long, and the call has cost it nothing. */
  failed(work: Work, error: unknown): number | undefined;
  /** All calls for this message are over: if it was the probe and said nothing, the next one probes. */
  leave(work: Work): void;
  close(): void;
}

export const consumerBreakerChecks: Readonly<Record<keyof ConsumerBreakerOptions, Check>> = {
  failures: count(1),
  errorPercent: count(1, 100),
  minCalls: count(1),
  windowMs: positiveMs,
  resetMs: positiveMs,
  counts: func,
};

export function consumerBreaker(
  options: ConsumerBreakerOptions,
  onState: (state: BreakerState) => void,
): ConsumerBreaker {
  const { resetMs = 10_000, counts = () => true } = options;
  const windowed = options.errorPercent ?? options.minCalls ?? options.windowMs;
  const failures = options.failures ?? (windowed === undefined ? 10 : Number.POSITIVE_INFINITY);
  const share = windowed === undefined ? undefined : failingShare(options);
  // Time to fetch something: else one that always fails, being here, could be the probe for ever.
  const freshMs = Math.min(1_000, resetMs);
  const entered = new WeakMap<Work, number>();
  /** Which messages the failures in a row are of; two are enough to know. */
  const failing = new Set<string>();
  let state: BreakerState = 'closed';
  let why = '';
  let round = 0;
  let streak = 0;
  let probesAt = 0;
  let probe: Work | undefined;
  let timer: NodeJS.Timeout | undefined;

  function become(next: BreakerState): void {
    state = next;
    probe = undefined;
    if (next !== 'half-open') forget();
    onState(next);
  }

  function forget(): void {
    streak = 0;
    failing.clear();
    share?.clear();
  }

  function open(reason: string): void {
    why = reason;
    // What began before it opened says nothing about later: neither success nor failure of those calls moves it again.
    round += 1;
    probesAt = performance.now() + resetMs;
    timer = setTimeout(() => become('half-open'), resetMs);
    become('open');
  }

  const waitMs = (): number => Math.max(1, Math.ceil(probesAt - performance.now()));

  function outage(work: Work): string | undefined {
    const name = work.delivery.message.id ?? work.delivery.position;
    streak += 1;
    if (failing.size < 2) failing.add(name);
    const percent = share?.add(name);
    if (streak >= failures && failing.size >= Math.min(2, failures)) return `${streak} handler calls failed in a row`;
    return percent === undefined ? undefined : `${percent} % of the handler calls failed`;
  }

  return {
    get state() {
      return state;
    },
    get why() {
      return why;
    },
    get freshMs() {
      return state === 'half-open' ? Math.max(0, probesAt + freshMs - performance.now()) : 0;
    },
    enter(work, batched = []) {
      if (state === 'open') throw new NotEntered(waitMs());
      if (state === 'half-open') {
        if (probe !== undefined && probe !== work) throw new NotEntered(resetMs);
        probe = work;
      }
      entered.set(work, round);
      for (const other of batched) entered.set(other, round);
    },
    succeeded(work) {
      if (entered.get(work) !== round) return;
      if (state === 'half-open') become('closed');
      else if (state === 'closed') {
        streak = 0;
        failing.clear();
        share?.add(undefined);
      }
    },
    failed(work, error) {
      if (!counts(error)) return undefined;
      const current = entered.get(work) === round;
      if (state === 'closed') {
        const reason = current ? outage(work) : undefined;
        if (reason === undefined) return undefined;
        open(reason);
      } else if (state === 'half-open' && current) open('a message that probed has failed');
      return state === 'open' ? waitMs() : resetMs;
    },
    leave(work) {
      if (probe === work) probe = undefined;
    },
    close: () => clearTimeout(timer),
  };
}

interface FailingShare {
  /** Counts a call, with its message's name if it failed. The failed share in percent, once it is high enough. */
  add(failed: string | undefined): number | undefined;
  clear(): void;
}

interface Slice {
  readonly from: number;
  calls: number;
  failed: number;
  /** Two are enough to know that it is not one message alone. */
  readonly names: Set<string>;
}
const SLICES = 10;

/** Calls and failures of the last `windowMs`, counted in slices, so that a busy consumer remembers no single call. */
function failingShare({ errorPercent = 50, minCalls = 10, windowMs = 10_000 }: ConsumerBreakerOptions): FailingShare {
  let slices: Slice[] = [];

  function current(now: number): Slice {
    while (slices[0] !== undefined && slices[0].from <= now - windowMs) slices.shift();
    const last = slices.at(-1);
    if (last !== undefined && now - last.from < windowMs / SLICES) return last;
    const fresh: Slice = { from: now, calls: 0, failed: 0, names: new Set() };
    slices.push(fresh);
    return fresh;
  }

  return {
    add(failed) {
      const slice = current(performance.now());
      slice.calls += 1;
      if (failed === undefined) return undefined;
      slice.failed += 1;
      if (slice.names.size < 2) slice.names.add(failed);
      const calls = slices.reduce((sum, each) => sum + each.calls, 0);
      const percent = (slices.reduce((sum, each) => sum + each.failed, 0) / calls) * 100;
      const several = new Set(slices.flatMap(({ names }) => [...names])).size > 1;
      return several && calls >= minCalls && percent >= errorPercent ? Math.round(percent) : undefined;
    },
    clear() {
      slices = [];
    },
  };
}
