/** When the relay looks again: at once while rows come, then after 10 ms, doubling to its idle limit; a wake-up cuts it short. */

export interface Pace {
  wake(): void;
  next(found: boolean, stopping: () => boolean): Promise<void>;
  /** After an error: from 100 ms, doubling to 5 s. */
  failed(stopping: () => boolean): Promise<void>;
}

export function createPace(maxIdleMs: number): Pace {
  const sleepers = new Set<() => void>();
  let idleMs = 10;
  let errorMs = 100;
  // A wake-up between a look and its pause must not be slept through.
  let woken = 0;
  let seen = 0;

  function sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        sleepers.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      sleepers.add(end);
    });
  }

  return {
    wake() {
      woken += 1;
      idleMs = 10;
      for (const end of [...sleepers]) end();
    },
    async next(found, stopping) {
      errorMs = 100;
      if (found || woken !== seen || stopping()) {
        seen = woken;
        if (found) idleMs = 10;
        return;
      }
      const pause = idleMs;
      idleMs = Math.min(maxIdleMs, idleMs * 2);
      await sleep(pause);
    },
    async failed(stopping) {
      if (stopping()) return;
      const pause = errorMs;
      errorMs = Math.min(5_000, errorMs * 2);
      await sleep(pause);
    },
  };
}
