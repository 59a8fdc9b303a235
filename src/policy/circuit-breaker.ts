import CircuitBreaker from 'opossum';
import { type Check, count, positiveMs } from '../options.ts';

export interface BreakerOptions {
  /** Opens when at least this share of calls failed, in percent. @default 50 */
  readonly errorPercent?: number;
  /** … and at least this many calls were made within `windowMs`. @default 5 */
  readonly minCalls?: number;
  /** @default 10_000 */
  readonly windowMs?: number;
  /** Open for this long, then one call probes. @default 1_000 */
  readonly resetMs?: number;
}

export interface Breaker {
  /** Runs one call, or throws `BreakerOpen` at once. */
  fire<T>(call: () => Promise<T>): Promise<T>;
  readonly open: boolean;
  close(): void;
}

/** A call was not made because the breaker is open. */
export class BreakerOpen extends Error {
  override readonly name: string = 'BreakerOpen';
}

export const breakerChecks: Readonly<Record<keyof BreakerOptions, Check>> = {
  errorPercent: count(1, 100),
  minCalls: count(1),
  windowMs: positiveMs,
  resetMs: positiveMs,
};

/**
 * opossum without its own timeout and fallback (S8): only failures for which `counts` says so open it; a half-open
 * breaker lets one call through.
 */
export function circuitBreaker(
  options: BreakerOptions,
  counts: (error: unknown) => boolean,
  onState: (state: 'open' | 'half-open' | 'closed') => void,
): Breaker {
  const breaker = new CircuitBreaker(async (call: () => Promise<unknown>) => call(), {
    timeout: false,
    // opossum opens above its threshold, never at it: 100 would never open.
    errorThresholdPercentage: (options.errorPercent ?? 50) - 0.001,
    volumeThreshold: options.minCalls ?? 5,
    rollingCountTimeout: options.windowMs ?? 10_000,
    rollingPercentilesEnabled: false,
    resetTimeout: options.resetMs ?? 1_000,
    errorFilter: (error: unknown) => !counts(error),
  });
  breaker.on('open', () => onState('open'));
  breaker.on('halfOpen', () => onState('half-open'));
  breaker.on('close', () => onState('closed'));
  return {
    async fire<T>(call: () => Promise<T>): Promise<T> {
      try {
        return (await breaker.fire(call)) as T;
      } catch (error) {
        if ((error as { code?: unknown } | null)?.code === 'EOPENBREAKER')
          throw new BreakerOpen('the circuit is open', { cause: error });
        throw error;
      }
    },
    get open() {
      return breaker.opened;
    },
    close: () => breaker.shutdown(),
  };
}
