/** When to try again: pure values, no clock. */

import { type Check, type Checks, checkOptions, count, durationMs, positive, positiveMs } from '../options.ts';

export interface RetryDelays {
  /** How many delayed retries there are. */
  readonly times: number;
  /** The pause before the nth delayed retry, from 1. */
  delayMs(retry: number): number;
}
export type Delays = readonly number[] | RetryDelays;

/** The same delay each time. */
export function fixed(options: { readonly delayMs: number; readonly times: number }): RetryDelays {
  checkOptions('fixed', options, { delayMs: durationMs, times: count(0, 1000) });
  return { times: options.times, delayMs: () => options.delayMs };
}

const share: Check = (value) =>
  typeof value === 'number' && value >= 0 && value <= 1 ? undefined : 'must be a number from 0 to 1';

/** `firstMs × factor^(n − 1)`, at most `maxMs`; `jitter` (0 to 1) takes off up to that share at random. @default jitter 0 */
export function exponential(options: {
  readonly firstMs: number;
  readonly factor: number;
  readonly maxMs: number;
  readonly times: number;
  readonly jitter?: number;
}): RetryDelays {
  checkOptions('exponential', options, {
    firstMs: positiveMs,
    factor: positive,
    maxMs: positiveMs,
    times: count(0, 1000),
    jitter: share,
  });
  const { firstMs, factor, maxMs, times, jitter = 0 } = options;
  return {
    times,
    delayMs: (retry) => Math.round(Math.min(maxMs, firstMs * factor ** (retry - 1)) * (1 - jitter * Math.random())),
  };
}

export interface RetryOptions {
  /** Retries within the same delivery, before any delay. @default { retries: 2, firstMs: 50, factor: 2, maxMs: 1_000 } */
  readonly immediate?: {
    readonly retries: number;
    readonly firstMs?: number;
    readonly factor?: number;
    readonly maxMs?: number;
  };
  /** Then the message goes back to the broker for these long. @default [5_000, 60_000, 600_000] */
  readonly delays?: Delays;
}

export interface RetryPlan {
  readonly immediate: {
    readonly retries: number;
    readonly firstMs: number;
    readonly factor: number;
    readonly maxMs: number;
  };
  readonly delays: RetryDelays;
  /** (1 + immediate) × (1 + delays). */
  readonly maxAttempts: number;
}

const isDelays: Check = (value) => {
  if (Array.isArray(value))
    return value.every((item) => durationMs(item) === undefined) ? undefined : 'must hold milliseconds of 0 or more';
  const delays = value as Partial<RetryDelays> | null;
  return typeof delays?.times === 'number' && typeof delays.delayMs === 'function'
    ? undefined
    : 'must be an array of milliseconds, fixed(…) or exponential(…)';
};

export const retryChecks: Checks = {
  immediate: { retries: count(0, 1000), firstMs: durationMs, factor: positive, maxMs: durationMs },
  delays: isDelays,
};

/** Of options that were checked. */
export function retryPlan(options: RetryOptions = {}): RetryPlan {
  const delays = options.delays ?? [5_000, 60_000, 600_000];
  const list: RetryDelays =
    'delayMs' in delays ? delays : { times: delays.length, delayMs: (retry) => delays[retry - 1] ?? 0 };
  const immediate = { retries: 2, firstMs: 50, factor: 2, maxMs: 1_000, ...options.immediate };
  return { immediate, delays: list, maxAttempts: (1 + immediate.retries) * (1 + list.times) };
}

/** A delay as brokers take it: whole milliseconds, rounded up. What a policy cannot say (NaN, below 0) is no delay. */
export const wholeMs = (ms: number): number => (ms > 0 ? Math.ceil(Math.min(ms, Number.MAX_SAFE_INTEGER)) : 0);

export type NextStep =
  | { readonly kind: 'immediate' }
  | { readonly kind: 'delay'; readonly delayMs: number }
  | { readonly kind: 'exhausted' };

/** What follows after `attempts` failed handler calls in all. */
export function nextStep(plan: RetryPlan, attempts: number): NextStep {
  const perRound = 1 + plan.immediate.retries;
  if (attempts >= plan.maxAttempts) return { kind: 'exhausted' };
  if (attempts % perRound !== 0) return { kind: 'immediate' };
  return { kind: 'delay', delayMs: plan.delays.delayMs(attempts / perRound) };
}
