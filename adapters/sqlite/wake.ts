import type { DatabaseSync } from 'node:sqlite';

/** Per file, who in this process waits for something new in it. */
const listeners = new Map<string, Set<() => void>>();

/** Tells every adapter of this process that has the file open. */
export function announce(realPath: string): void {
  for (const listener of listeners.get(realPath) ?? []) listener();
}

export function listen(realPath: string, listener: () => void): () => void {
  const set = listeners.get(realPath) ?? new Set();
  listeners.set(realPath, set);
  set.add(listener);
  return () => {
    set.delete(listener);
    if (set.size === 0) listeners.delete(realPath);
  };
}

export interface Poll {
  /** Looks again soon, as after a commit of this process. */
  hurry(): void;
  stop(): void;
}

/** How often what no commit announces is looked for: leases that ran out, processes that are gone. */
const TICK_MS = 1_000;

/**
 * Calls `changed` after commits, of this process or others, and `tick` every second. Looks at `PRAGMA data_version`,
 * which reads no page, every `pollMs` while there are commits, slowing down to a fifth of that.
 */
export function startPoll(
  db: DatabaseSync,
  pollMs: number,
  on: { readonly changed: () => void; readonly tick: () => void; readonly failed: (error: unknown) => void },
): Poll {
  const version = db.prepare('PRAGMA data_version');
  let seen: unknown;
  let hurried = true;
  let waitMs = pollMs;
  let tickedAt = performance.now();
  let timer = setTimeout(look, pollMs);

  function look(): void {
    timer = setTimeout(look, waitMs);
    try {
      const now = version.get()?.data_version;
      const changed = hurried || now !== seen;
      seen = now;
      hurried = false;
      waitMs = changed ? pollMs : Math.min(waitMs * 1.2, pollMs * 5);
      if (changed) on.changed();
      if (performance.now() - tickedAt >= TICK_MS) {
        tickedAt = performance.now();
        on.tick();
      }
    } catch (error) {
      on.failed(error);
    }
  }

  return {
    hurry() {
      hurried = true;
      waitMs = pollMs;
    },
    stop: () => clearTimeout(timer),
  };
}
