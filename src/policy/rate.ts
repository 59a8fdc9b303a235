export interface Rate {
  /** Milliseconds until the next may start: 0 takes one now. */
  take(now: number): number;
  /** The same without taking it. */
  waitMs(now: number): number;
}

/** At most `perSecond` starts a second, evenly spaced, without saving up for a burst. */
export function rateLimit(perSecond: number | undefined): Rate {
  if (perSecond === undefined) return { take: () => 0, waitMs: () => 0 };
  const spacingMs = 1_000 / perSecond;
  let nextAt = Number.NEGATIVE_INFINITY;
  return {
    waitMs: (now) => Math.max(0, nextAt - now),
    take(now) {
      if (now < nextAt) return nextAt - now;
      // A start that is a little late is caught up with; after a pause nothing is.
      nextAt = (now - nextAt < spacingMs ? nextAt : now) + spacingMs;
      return 0;
    },
  };
}
