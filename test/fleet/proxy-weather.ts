/** What the network does to every connection of a proxy, now; all of it can change while bytes are on their way. */
export interface Weather {
  /** Nothing passes; what is on its way arrives when this ends, as after a network partition. */
  held: boolean;
  delayMs: number;
  /** Up to this much more delay, at random per chunk; the order stays. */
  jitterMs: number;
  /** Per connection and direction. */
  bytesPerSecond: number;
  /** Bytes are passed on in pieces of at most this size, one per turn of the event loop. */
  pieceBytes: number;
  /** Waits so long, or until the weather changes. */
  wait(ms: number): Promise<void>;
  /** Wakes everybody who waits. */
  changed(): void;
}

export function fairWeather(): Omit<Weather, 'wait' | 'changed'> {
  return {
    held: false,
    delayMs: 0,
    jitterMs: 0,
    bytesPerSecond: Number.POSITIVE_INFINITY,
    pieceBytes: Number.POSITIVE_INFINITY,
  };
}

export function createWeather(): Weather {
  const waiting = new Set<() => void>();
  return {
    ...fairWeather(),
    wait(ms) {
      return new Promise((resolve) => {
        const timer = Number.isFinite(ms) ? setTimeout(() => wake(), ms) : undefined;
        const wake = () => {
          clearTimeout(timer);
          waiting.delete(wake);
          resolve();
        };
        waiting.add(wake);
      });
    },
    changed() {
      for (const wake of [...waiting]) wake();
    },
  };
}
