import { randomUUID } from 'node:crypto';
import { listenTo } from './listen.ts';
import type { Names } from './names.ts';
import type { PgPool } from './pool.ts';

export interface Wake {
  /** A transaction that added rows has committed. */
  committed(): void;
  /** Rows were added by a transaction whose end nobody tells us: it is looked for a little later, once. */
  addedElsewhere(): void;
  onWake(listener: () => void): () => void;
  close(): Promise<void>;
}

/** A process notifies at most once in so many milliseconds: each NOTIFY takes a lock that all databases of the server share. */
const notifyEveryMs = 50;
const foreignCommitMs = 25;

/** Wakes relays: those of this process at once, others by a NOTIFY of its own, never inside a caller's transaction. */
export function wakeUp(pool: PgPool, names: Names, notify: boolean): Wake {
  const self = randomUUID();
  const listeners = new Set<{ readonly call: () => void }>();
  let ringing = false;
  let closed = false;
  let lastNotified = 0;
  let notifyTimer: NodeJS.Timeout | undefined;
  let foreignTimer: NodeJS.Timeout | undefined;

  function ring(): void {
    if (ringing || listeners.size === 0) return;
    ringing = true;
    queueMicrotask(() => {
      ringing = false;
      for (const { call } of [...listeners]) call();
    });
  }

  const ear = listenTo(pool, names.channel, (payload) => {
    if (payload !== self) ring();
  });

  function announce(): void {
    if (!notify || closed || notifyTimer !== undefined) return;
    const wait = Math.max(0, lastNotified + notifyEveryMs - performance.now());
    notifyTimer = setTimeout(() => {
      notifyTimer = undefined;
      lastNotified = performance.now();
      // Whoever misses it polls.
      pool.query('SELECT pg_notify($1, $2)', [names.channel, self]).catch(() => undefined);
    }, wait).unref();
  }

  function committed(): void {
    ring();
    announce();
  }

  return {
    committed,
    addedElsewhere() {
      if (closed) return;
      foreignTimer ??= setTimeout(() => {
        foreignTimer = undefined;
        committed();
      }, foreignCommitMs).unref();
    },
    onWake(listener) {
      const entry = { call: listener };
      listeners.add(entry);
      if (notify && !closed) ear.start();
      return () => {
        listeners.delete(entry);
        if (listeners.size === 0) void ear.stop();
      };
    },
    async close() {
      closed = true;
      listeners.clear();
      clearTimeout(notifyTimer);
      clearTimeout(foreignTimer);
      await ear.stop();
    },
  };
}
