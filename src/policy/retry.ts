import pRetry from 'p-retry';

export interface BackoffOptions {
  readonly retries: number;
  readonly firstMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** Each pause is one to two times its length, at random, so that many clients do not return together. */
  readonly jitter: boolean;
}

/** What an attempt threw, wrapped so that p-retry treats a TypeError of the user's like any other error. */
class AttemptFailed extends Error {
  override readonly name: string = 'AttemptFailed';
}

/**
 * Runs `attempt` until it returns, `again` says no, retries are used up or `signal` aborts; rejects with what the last
 * attempt threw, or with the signal's reason. The first attempt is made without p-retry: what succeeds at once, which is
 * nearly everything, pays nothing for the possibility of failure.
 */
export async function withRetries<T>(
  attempt: (number: number) => Promise<T>,
  backoff: BackoffOptions,
  again: (error: unknown, attempts: number) => boolean,
  signal?: AbortSignal,
): Promise<T> {
  let first: unknown;
  try {
    return await attempt(1);
  } catch (error) {
    first = error;
  }
  try {
    return await pRetry(
      async (number) => {
        try {
          if (number === 1) throw first;
          return await attempt(number);
        } catch (error) {
          throw new AttemptFailed('attempt failed', { cause: error });
        }
      },
      {
        retries: backoff.retries,
        minTimeout: backoff.firstMs,
        factor: backoff.factor,
        maxTimeout: Math.max(backoff.maxMs, backoff.firstMs),
        randomize: backoff.jitter,
        shouldRetry: ({ error, attemptNumber }) => again(error.cause, attemptNumber),
        ...(signal === undefined ? {} : { signal }),
      },
    );
  } catch (error) {
    throw error instanceof AttemptFailed ? error.cause : error;
  }
}
