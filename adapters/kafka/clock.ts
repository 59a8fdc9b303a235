/**
 * The broker's clock as far as it can be known here: never ahead of it, so that nothing is released early.
 *
 * Kafka has no request for the time. But what is appended to a ladder comes back stamped by the broker, and when the
 * answer is here the broker's clock shows at least that.
 */
export interface BrokerClock {
  /** Epoch milliseconds on the broker; by our own clock until the first observation. */
  now(): number;
  /** A record that was appended before this call bears this stamp. `fresh`: it was appended just now. */
  observe(appendedAt: number, fresh: boolean): void;
  /** Whether an append of the last minutes has been observed. */
  sure(): boolean;
}

/** Clocks drift, and are set: older observations are forgotten after one to two of these. */
const WINDOW_MS = 300_000;

export function brokerClock(
  monotonic: () => number = () => performance.now(),
  wall: () => number = Date.now,
): BrokerClock {
  // Broker time minus our monotonic clock is at least this, by the observations of this window and the last.
  let newer = Number.NEGATIVE_INFINITY;
  let older = Number.NEGATIVE_INFINITY;
  let windowEnds = 0;
  let sureUntil = Number.NEGATIVE_INFINITY;
  return {
    now() {
      const bound = Math.max(newer, older);
      return Number.isFinite(bound) ? bound + monotonic() : wall();
    },
    observe(appendedAt, fresh) {
      const now = monotonic();
      if (fresh) sureUntil = now + WINDOW_MS;
      else if (now >= sureUntil) return;
      if (now >= windowEnds) {
        older = newer;
        newer = Number.NEGATIVE_INFINITY;
        windowEnds = now + WINDOW_MS;
      }
      newer = Math.max(newer, appendedAt - now);
    },
    sure: () => monotonic() < sureUntil,
  };
}
