import { setTimeout as sleep } from 'node:timers/promises';
import { isBusy } from './store-errors.ts';

export interface Patience {
  readonly path: string;
  readonly busyTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Calls `step` again, by and by, while another connection holds the lock; SQLite itself would wait by blocking the event loop. */
export async function patiently<R>({ path, busyTimeoutMs, signal }: Patience, step: () => R): Promise<R> {
  const end = performance.now() + busyTimeoutMs;
  for (let refused = 0; ; refused++) {
    signal?.throwIfAborted();
    try {
      return step();
    } catch (error) {
      if (!isBusy(error)) throw error;
      if (performance.now() > end) {
        const message = `The write lock of "${path}" was held by others for more than ${busyTimeoutMs} ms; nothing was written.`;
        throw Object.assign(new Error(message, { cause: error }), { adapterCode: 'busy' as const });
      }
    }
    // Jittered, so that those who were refused together do not come back together.
    await sleep(1 + Math.random() * Math.min(2 ** refused, 25));
  }
}
