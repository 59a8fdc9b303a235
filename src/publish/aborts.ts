import type { Pending } from './queue.ts';

export interface Aborts {
  /** Tells `stop` when the signal aborts, until `pending.forget` is called. */
  watch(pending: Pending, signal: AbortSignal): void;
}

interface Watch {
  readonly pendings: Set<Pending>;
  readonly abort: () => void;
}

/** One listener per signal: thousands of messages may share one, and a signal looks through all its listeners at each change. */
export function createAborts(stop: (pending: Pending, signal: AbortSignal) => void): Aborts {
  const watches = new WeakMap<AbortSignal, Watch>();

  function begin(signal: AbortSignal): Watch {
    const pendings = new Set<Pending>();
    const abort = (): void => {
      for (const pending of [...pendings]) stop(pending, signal);
    };
    signal.addEventListener('abort', abort, { once: true });
    const watch = { pendings, abort };
    watches.set(signal, watch);
    return watch;
  }

  return {
    watch(pending, signal) {
      const { pendings, abort } = watches.get(signal) ?? begin(signal);
      pendings.add(pending);
      pending.forget = () => {
        pendings.delete(pending);
        if (pendings.size > 0) return;
        watches.delete(signal);
        signal.removeEventListener('abort', abort);
      };
    },
  };
}
