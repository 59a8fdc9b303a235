/** Wakes whoever waits for a state to change. Waiting is bounded by time and signal, and never rejects. */
export interface Bell {
  ring(): void;
  wait(ms: number, signal?: AbortSignal): Promise<void>;
}

export function bell(): Bell {
  const waiting = new Set<() => void>();
  return {
    ring() {
      for (const wake of [...waiting]) wake();
    },
    wait(ms, signal) {
      return new Promise((resolve) => {
        const wake = (): void => {
          waiting.delete(wake);
          clearTimeout(timer);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        const timer = setTimeout(wake, timeoutMs(ms));
        waiting.add(wake);
        signal?.addEventListener('abort', wake);
        if (signal?.aborted) wake();
      });
    },
  };
}

/** What it comes to, or undefined after so long: from then on nobody waits for it. */
export async function within<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(late.resolve, timeoutMs(ms), undefined);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** What Node's timers take: beyond that they would fire at once. */
export function timeoutMs(ms: number): number {
  return Math.min(Math.max(0, ms), 0x7fff_ffff);
}

/** 50 ms, doubling to 1.5 s, with jitter: short enough that a broker that is back is in use within two seconds. */
export function backoffMs(failures: number): number {
  return Math.min(1_500, 50 * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2);
}
