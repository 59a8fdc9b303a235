/** A declaration under way, shared by all who need it and given up when nobody waits any more. */

import { onAbort } from './aborts.ts';
import { fromAdapter, HoldfastError, textOf } from './errors.ts';
import { withRetries } from './policy/retry.ts';
import type { Topology } from './port.ts';

/** Of whoever does not say how long. */
export const DEFAULT_TIMEOUT_MS = 30_000;

/** How long one caller waits. */
export interface Limit {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** When to stop waiting for a broker that seems to be away: an attempt has failed, or `isAway` says so. */
  readonly patience?: { readonly ms: number; isAway(): boolean } | undefined;
  /** Then it fails as a publish does, with outcome `not-sent`. @default false */
  readonly publishing?: boolean;
}

export interface AttemptSteps {
  readonly topic: string;
  /** Tried again while `isTransient` says so of its error. */
  declare(): Promise<void>;
  isTransient(error: unknown): boolean;
  /** Not called once it was given up. */
  declared(): Topology;
  /** It is declared, has failed or was given up: whoever comes now begins anew. */
  ended(): void;
}

export interface Attempt {
  /** Each for its own time: a caller in a hurry does not cut short one that has time, nor the other way round. */
  wait(limit: Limit): Promise<Topology>;
  /** Whoever waits is told. */
  stop(reason: unknown): void;
}

const BACKOFF = { retries: Number.POSITIVE_INFINITY, firstMs: 50, factor: 2, maxMs: 1_000, jitter: true };

export function attempt({ topic, declare, isTransient, declared, ended }: AttemptSteps): Attempt {
  const stop = new AbortController();
  let waiters = 0;
  let lastError: unknown;
  const given = new Promise<never>((_, reject) => onAbort(stop.signal, () => reject(stop.signal.reason)));
  const again = (error: unknown): boolean => {
    lastError = error;
    return isTransient(error);
  };
  const done = Promise.race([withRetries(declare, BACKOFF, again, stop.signal), given])
    .then(declared)
    .finally(ended);

  return {
    stop: (reason) => stop.abort(reason),
    wait({ timeoutMs, signal, patience, publishing = false }) {
      return new Promise((resolve, reject) => {
        let waits = true;
        const end = (): boolean => {
          if (!waits) return false;
          waits = false;
          clearTimeout(timer);
          clearInterval(impatience);
          forget?.();
          waiters -= 1;
          if (waiters === 0) {
            // At once, not when the attempt has heard of it.
            ended();
            stop.abort();
          }
          return true;
        };
        waiters += 1;
        const giveUp = (afterMs: number): void => {
          if (end()) reject(lateError(topic, afterMs, lastError, publishing));
        };
        const timer = setTimeout(() => giveUp(timeoutMs), timeoutMs);
        const impatience =
          patience === undefined
            ? undefined
            : setInterval(() => {
                if (lastError !== undefined || patience.isAway()) giveUp(patience.ms);
              }, patience.ms);
        const forget =
          signal === undefined || signal.aborted
            ? undefined
            : onAbort(signal, () => end() && reject(abortError(topic, signal)));
        if (signal?.aborted && end()) reject(abortError(topic, signal));
        done.then(
          (topology) => end() && resolve(topology),
          (error: unknown) => end() && reject(failure(error, topic, publishing)),
        );
      });
    },
  };
}

function lateError(topic: string, timeoutMs: number, lastError: unknown, publishing: boolean): HoldfastError {
  const why = lastError === undefined ? 'the broker does not answer' : `last: ${textOf(lastError)}`;
  return new HoldfastError(
    publishing ? 'publish-timeout' : 'broker-unreachable',
    `Topic "${topic}" could not be declared within ${timeoutMs} ms (${why})`,
    { cause: lastError },
  );
}

const abortError = (topic: string, signal: AbortSignal): HoldfastError =>
  new HoldfastError('publish-aborted', `Waiting for topic "${topic}" to be declared was aborted: nothing was sent`, {
    cause: signal.reason,
  });

function failure(error: unknown, topic: string, publishing: boolean): HoldfastError {
  const found = fromAdapter(error, `declare topic "${topic}"`);
  return new HoldfastError(found.code, found.message, {
    cause: error,
    details: found.details,
    ...(publishing ? { outcome: 'not-sent' as const } : {}),
  });
}
