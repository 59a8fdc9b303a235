/** Puts this process's wall clock ahead, for all that it will run. Monotonic clocks and timers stay right. */
export function setClockAhead(ms: number): void {
  const TrueDate = Date;
  globalThis.Date = new Proxy(TrueDate, {
    construct: (_, words, self) =>
      Reflect.construct(TrueDate, words.length === 0 ? [TrueDate.now() + ms] : words, self),
    get: (_, name) => (name === 'now' ? () => TrueDate.now() + ms : Reflect.get(TrueDate, name)),
  });
}
