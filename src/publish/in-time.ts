import { onAbort } from '../aborts.ts';
import { HoldfastError } from '../errors.ts';

/** Until when a publish waits for anything at all. */
export interface Until {
  /** Epoch milliseconds. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
}

/** Waits for `work`, which knows no deadline: a schema, or whoever was published before. Nothing has been sent yet. */
export async function inTime<T>(topic: string, work: Promise<T>, { deadline, signal }: Until): Promise<T> {
  const givenUp = Promise.withResolvers<never>();
  const late = (): void =>
    givenUp.reject(
      new HoldfastError(
        'publish-timeout',
        `A message could not be sent to "${topic}" in time: its schema, or that of one before it, has not answered`,
        { details: { topic } },
      ),
    );
  const abort = (): void =>
    givenUp.reject(
      new HoldfastError('publish-aborted', `A publish to "${topic}" was aborted before anything was sent`, {
        cause: signal?.reason,
        details: { topic },
      }),
    );
  const timer = setTimeout(late, Math.max(0, deadline - Date.now()));
  const forget = signal === undefined || signal.aborted ? undefined : onAbort(signal, abort);
  if (signal?.aborted) abort();
  try {
    return await Promise.race([work, givenUp.promise]);
  } finally {
    clearTimeout(timer);
    forget?.();
  }
}
