export interface Turns {
  /** Waits for its turn, in order of arrival; resolves to the call that ends it. Rejects when the signal aborts. */
  take(signal?: AbortSignal): Promise<() => void>;
}

/** Lets one in at a time. */
export function turns(): Turns {
  let taken = false;
  const waiting = new Set<() => void>();

  function end(): void {
    const [next] = waiting;
    if (next === undefined) taken = false;
    else {
      waiting.delete(next);
      next();
    }
  }

  return {
    async take(signal) {
      signal?.throwIfAborted();
      if (taken) {
        await new Promise<void>((resolve, reject) => {
          const admit = (): void => {
            signal?.removeEventListener('abort', giveUp);
            resolve();
          };
          const giveUp = (): void => {
            waiting.delete(admit);
            reject(signal?.reason);
          };
          waiting.add(admit);
          signal?.addEventListener('abort', giveUp, { once: true });
        });
      }
      taken = true;
      let ended = false;
      return () => {
        if (ended) return;
        ended = true;
        end();
      };
    },
  };
}
