export interface Rate {
  /** Milliseconds until the next may start: 0 takes one now. */
  take(now: number): number;
}

/** At most `perSecond` starts a second, evenly spaced, without saving up for a burst. */
export function rateLimit(perSecond: number | undefined): Rate {
  if (perSecond === undefined) return { take: () => 0 };
  const spacingMs = 1_000 / perSecond;
  let nextAt = Number.NEGATIVE_INFINITY;
  return {
    take(now) {
      if (now < nextAt) return nextAt - now;
      nextAt = Math.max(nextAt + spacingMs, now);
      return 0;
    },
  };
}
