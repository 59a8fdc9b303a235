import assert from 'node:assert/strict';

/** When handler calls began, judged against the rate at which they may. */
export interface Pace {
  /** Of each call that began, in order. */
  readonly starts: readonly number[];
  /** To be called as the first thing in the handler. */
  begins(): void;
  /**
   * Within no time longer than n spacings do more than n + 2 calls begin: one at its end, and one that was late. A call
   * may be held up between its permission and its handler, so the time is counted from the turn of the event loop that
   * it began in: however slow the machine, no permission was given before.
   */
  assertAtMost(perSecond: number): void;
  end(): void;
}

export function pace(): Pace {
  const starts: number[] = [];
  const turns: number[] = [];
  let turnAt = performance.now();
  const timer = setInterval(() => {
    turnAt = performance.now();
  }, 1);
  timer.unref();

  return {
    starts,
    begins() {
      turns.push(turnAt);
      starts.push(performance.now());
    },
    assertAtMost(perSecond) {
      const spacingMs = 1_000 / perSecond;
      for (const [first, turn] of turns.entries()) {
        for (let last = first + 2; last < starts.length; last += 1) {
          const tookMs = starts[last]! - turn;
          const leastMs = (last - first - 1) * spacingMs;
          assert.ok(tookMs >= leastMs, `${last - first + 1} calls began within ${tookMs} ms, not ${leastMs}`);
        }
      }
    },
    end: () => clearInterval(timer),
  };
}
