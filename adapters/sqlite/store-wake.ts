import type { Connection } from './store-connection.ts';

export interface Wake {
  /** A transaction of the store that added rows has committed. */
  ring(): void;
  onWake(listener: () => void): () => void;
  close(): void;
}

/** `PRAGMA data_version` reads no page: it tells whether another connection has committed since it was last asked. */
const lookEveryMs = 50;

/** Wakes relays: after commits of the store at once, after those of other connections and processes within 50 ms. */
export function storeWake(connection: Connection): Wake {
  const listeners = new Set<{ readonly call: () => void }>();
  let ringing = false;
  let timer: NodeJS.Timeout | undefined;
  let seen: unknown;

  function ring(): void {
    if (ringing || listeners.size === 0) return;
    ringing = true;
    queueMicrotask(() => {
      ringing = false;
      for (const { call } of [...listeners]) call();
    });
  }

  function look(): void {
    const db = connection.idle();
    if (db === undefined) return;
    try {
      const version = db.prepare('PRAGMA data_version').get()?.data_version;
      if (seen !== undefined && version !== seen) ring();
      seen = version;
    } catch {
      // Busy, for a moment: the next look tells.
    }
  }

  function stop(): void {
    clearInterval(timer);
    timer = undefined;
    seen = undefined;
  }

  return {
    ring,
    onWake(listener) {
      const entry = { call: listener };
      listeners.add(entry);
      // Opens the connection if nobody has; the error of a file that cannot be opened is for those who ask for it.
      connection.read(look).catch(() => undefined);
      timer ??= setInterval(look, lookEveryMs).unref();
      return () => {
        listeners.delete(entry);
        if (listeners.size === 0) stop();
      };
    },
    close() {
      listeners.clear();
      stop();
    },
  };
}
