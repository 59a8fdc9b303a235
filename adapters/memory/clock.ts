/** Time as the broker sees it. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls `fn` once, not before `ms` milliseconds have passed. Returns its cancellation. */
  setTimer(fn: () => void, ms: number): () => void;
}

/** A clock that stands still until it is told to move. */
export interface VirtualClock extends Clock {
  /** Moves on by `ms`, running timers in order on the way, each seeing its own time; then lets deliveries and their answers run. */
  advance(ms: number): Promise<void>;
}

/** Longest wait of a Node timer; longer ones would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The clock of the machine. A timer never fires early by `Date.now()`'s measure only if its caller checks; the broker does. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(fn, ms) {
    const timer = setTimeout(fn, Math.min(Math.max(Math.ceil(ms), 0), MAX_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** A clock for tests, so that a retry in ten minutes takes no time. @default startAt 2026-01-01T00:00:00Z */
export function virtualClock(startAt: number = Date.UTC(2026, 0, 1)): VirtualClock {
  let now = startAt;
  let count = 0;
  const timers = new Map<number, { readonly at: number; readonly fn: () => void }>();

  function next(until: number): number | undefined {
    let first: number | undefined;
    for (const [id, timer] of timers) {
      if (timer.at <= until && (first === undefined || timer.at < timers.get(first)!.at)) first = id;
    }
    return first;
  }

  return {
    now: () => now,
    setTimer(fn, ms) {
      count += 1;
      const id = count;
      timers.set(id, { at: now + Math.max(ms, 0), fn });
      return () => timers.delete(id);
    },
    async advance(ms) {
      const until = now + ms;
      await turns();
      for (let id = next(until); id !== undefined; id = next(until)) {
        const timer = timers.get(id)!;
        timers.delete(id);
        now = Math.max(now, timer.at);
        timer.fn();
        await turns();
      }
      now = until;
      await turns();
    },
  };
}

/** A delivery, its handler's answer and the delivery that follows take a turn of the event loop each. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
