const TICK_MS = 20;

/** How much time this process did not get, or spent in one turn of its event loop: no promise can be kept in it. */
export interface LagMeter {
  /** In all, since it began. */
  readonly totalMs: number;
  stop(): void;
}

export function lagMeter(): LagMeter {
  let total = 0;
  let expectedAt = performance.now() + TICK_MS;
  const missing = (): number => Math.max(0, performance.now() - expectedAt);
  const timer = setInterval(() => {
    total += missing();
    expectedAt = performance.now() + TICK_MS;
  }, TICK_MS);
  timer.unref();
  return {
    get totalMs() {
      return total + missing();
    },
    stop: () => clearInterval(timer),
  };
}
