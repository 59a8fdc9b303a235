/**
 * While a publish of an ordered topic awaits its schema, or the topic's first declaration, later ones of the topic wait
 * their turn: they would overtake it, also within a key.
 */

export interface Turn {
  /** Resolves when every earlier publish of the topic has been handed over, or has failed. */
  readonly before: Promise<void>;
  /** This one has been handed over, or has failed. */
  leave(): void;
}

export interface Turns {
  /** Undefined where nothing waits and nothing has to. */
  take(topic: string, waits: boolean): Turn | undefined;
}

export function createTurns(): Turns {
  const last = new Map<string, Promise<void>>();
  return {
    take(topic, waits) {
      const earlier = last.get(topic);
      if (earlier === undefined && !waits) return undefined;
      const before = earlier ?? Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      last.set(topic, promise);
      return {
        before,
        leave() {
          // One that has given up leaves before its turn: those behind it still wait for those before it.
          void before.then(() => {
            if (last.get(topic) === promise) last.delete(topic);
            resolve();
          });
        },
      };
    },
  };
}
