import { pause } from '../pause.ts';

export interface Rate {
  /** Milliseconds until the next may start: 0 takes one now. */
  take(now: number): number;
  /** The same without taking it. */
  waitMs(now: number): number;
}

/** Timers come late: a start that was due this recently is caught up with. */
const LATE_MS = 4;
/** How long a start is kept for the consumer whose turn it is. */
const TURN_MS = 20;

/** When the next start is due, if one is taken now. After a pause nothing is caught up with. */
function after(now: number, nextAt: number, spacingMs: number): number {
  return (now - nextAt < Math.max(spacingMs, LATE_MS) ? nextAt : now) + spacingMs;
}

/** At most `perSecond` starts a second, evenly spaced, without saving up for a burst. */
export const rateLimit = (perSecond: number | undefined): Rate => sharedRate().join(perSecond);

/** One consumer's part in the rate of its group. */
export interface RateShare extends Rate {
  leave(): void;
}
export interface GroupRates {
  /** `perSecond` undefined asks for no limit, and keeps to those of the others. */
  join(group: string, perSecond: number | undefined): RateShare;
}

/** Rates by group: consumers of one group take their starts in turn from one rate, the lowest that any of them asks for. */
export function groupRates(): GroupRates {
  const groups = new Map<string, ReturnType<typeof sharedRate>>();
  return {
    join(name, perSecond) {
      const group = groups.get(name) ?? sharedRate();
      groups.set(name, group);
      const share = group.join(perSecond);
      return {
        ...share,
        leave() {
          share.leave();
          if (group.size === 0) groups.delete(name);
        },
      };
    },
  };
}

function sharedRate(): { readonly size: number; join(perSecond: number | undefined): RateShare } {
  const members = new Map<object, number>();
  /** Who was told to wait, and has started nothing since; the first has the next turn. */
  const waiting = new Set<object>();
  let spacingMs = 0;
  let nextAt = Number.NEGATIVE_INFINITY;

  function respace(): void {
    spacingMs = 1_000 / Math.min(Number.POSITIVE_INFINITY, ...members.values());
  }

  function wait(me: object, now: number): number {
    if (spacingMs === 0) return 0;
    if (now < nextAt) {
      waiting.add(me);
      return nextAt - now;
    }
    const turn = waiting.values().next().value;
    if (turn === undefined || turn === me) return 0;
    const lateMs = now - nextAt;
    if (lateMs >= TURN_MS) {
      waiting.delete(turn);
      return 0;
    }
    waiting.add(me);
    return TURN_MS - lateMs;
  }

  return {
    get size() {
      return members.size;
    },
    join(perSecond) {
      const me = {};
      members.set(me, perSecond ?? Number.POSITIVE_INFINITY);
      respace();
      return {
        waitMs: (now) => wait(me, now),
        take(now) {
          const waitMs = wait(me, now);
          if (waitMs > 0) return waitMs;
          waiting.delete(me);
          if (spacingMs > 0) nextAt = after(now, nextAt, spacingMs);
          return 0;
        },
        leave() {
          members.delete(me);
          waiting.delete(me);
          respace();
        },
      };
    },
  };
}

/** Takes the next start, and waits for it. Rejects with the signal's reason. */
export async function taken(rate: Rate, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  for (let ms = rate.take(performance.now()); ms > 0; ms = rate.take(performance.now())) {
    await pause(Math.ceil(ms), signal);
    signal?.throwIfAborted();
  }
}
