import type { Pending } from './queue.ts';

export interface Deadlines {
  watch(pending: Pending): void;
  close(): void;
}

/**
 * One timer for all pending messages: a batch shares it, and with equal timeouts it seldom fires. `expire` answers the
 * message, or sets a later time.
 */
export function createDeadlines(pendings: ReadonlySet<Pending>, expire: (pending: Pending) => void): Deadlines {
  let timer: NodeJS.Timeout | undefined;
  let next = Number.POSITIVE_INFINITY;

  function arm(at: number): void {
    clearTimeout(timer);
    next = at;
    timer = setTimeout(sweep, Math.max(0, at - Date.now()));
  }

  function sweep(): void {
    const now = Date.now();
    let earliest = Number.POSITIVE_INFINITY;
    for (const pending of [...pendings]) {
      if (pending.dueAt <= now) expire(pending);
      if (!pending.answered) earliest = Math.min(earliest, pending.dueAt);
    }
    next = Number.POSITIVE_INFINITY;
    if (earliest !== Number.POSITIVE_INFINITY) arm(earliest);
  }

  return {
    watch: (pending) => {
      if (pending.dueAt < next) arm(pending.dueAt);
    },
    close: () => clearTimeout(timer),
  };
}
