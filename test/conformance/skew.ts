/** From now on this process believes the clock on the wall to be ahead by so much; what it measures with stays right. */
export function setClockAhead(aheadMs: number): void {
  const Right = Date;
  class Skewed extends Right {
    constructor(...given: readonly [] | ConstructorParameters<DateConstructor>) {
      if (given.length === 0) super(Skewed.now());
      else super(...(given as ConstructorParameters<DateConstructor>));
    }
    static override now(): number {
      return Right.now() + aheadMs;
    }
  }
  globalThis.Date = Skewed as DateConstructor;
}
