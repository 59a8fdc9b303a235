/** While an async schema is awaited, later publishes of its topic wait their turn: they would overtake it, also within a key. */

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
      const { promise, resolve } = Promise.withResolvers<void>();
      last.set(topic, promise);
      return {
        before: earlier ?? Promise.resolve(),
        leave() {
          if (last.get(topic) === promise) last.delete(topic);
          resolve();
        },
      };
    },
  };
}
