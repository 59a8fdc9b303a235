export interface Semaphore {
  /** Waits for a free place, in order of arrival; resolves to the call that leaves it. Rejects when the signal aborts. */
  enter(signal: AbortSignal): Promise<() => void>;
}

/** Lets at most `size` in at once. */
export function semaphore(size: number): Semaphore {
  let free = size;
  const waiting = new Set<() => void>();

  function leave(): void {
    const [next] = waiting;
    if (next === undefined) free++;
    else {
      waiting.delete(next);
      next();
    }
  }

  return {
    async enter(signal) {
      signal.throwIfAborted();
      if (free > 0) free--;
      else {
        await new Promise<void>((resolve, reject) => {
          const admit = (): void => {
            signal.removeEventListener('abort', giveUp);
            resolve();
          };
          const giveUp = (): void => {
            waiting.delete(admit);
            reject(signal.reason);
          };
          waiting.add(admit);
          signal.addEventListener('abort', giveUp, { once: true });
        });
      }
      let left = false;
      return () => {
        if (left) return;
        left = true;
        leave();
      };
    },
  };
}
