/** One listener per signal: thousands of messages may share one, and a signal looks through all its listeners at each change. */

interface Watch {
  readonly told: Set<() => void>;
  readonly listener: () => void;
}
const watches = new WeakMap<AbortSignal, Watch>();

/** Calls `tell` when the signal aborts; it must not have aborted already. Returns what takes the watch away. */
export function onAbort(signal: AbortSignal, tell: () => void): () => void {
  // A function of its own for each caller, so that nobody takes another's away.
  const mine = (): void => tell();
  const { told, listener } = watches.get(signal) ?? begin(signal);
  told.add(mine);
  return () => {
    if (!told.delete(mine) || told.size > 0) return;
    watches.delete(signal);
    signal.removeEventListener('abort', listener);
  };
}

function begin(signal: AbortSignal): Watch {
  const told = new Set<() => void>();
  const listener = (): void => {
    for (const tell of [...told]) tell();
  };
  const watch = { told, listener };
  watches.set(signal, watch);
  signal.addEventListener('abort', listener, { once: true });
  return watch;
}
