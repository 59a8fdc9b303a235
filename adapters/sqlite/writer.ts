import type { DatabaseSync } from 'node:sqlite';
import { adapterError, isBusy } from './errors.ts';

export interface WriteOptions {
  /** Synced to disk before it counts as done. Otherwise a power cut may undo it, though no crash of a process can. */
  readonly durable: boolean;
  /** Whether others may find something new to deliver after it. */
  readonly notify: boolean;
  /** Given up, not having been done, when the lock cannot be had by then. @default `busyTimeoutMs` from now */
  readonly deadline?: number;
  readonly signal?: AbortSignal;
}

/** The only way to write. Steps run in the order in which they were given. */
export interface Writer {
  /**
   * Runs `step` in a transaction, together with what else is waiting: they share its sync. A step is synchronous,
   * changes nothing but the database (it may be rolled back and run again), and when it throws it fails alone.
   */
  write<T>(step: () => T, options: WriteOptions): Promise<T>;
  /** Takes nothing more, and waits until all that was given is done or given up. */
  close(): Promise<void>;
}

interface Job {
  readonly step: () => unknown;
  readonly options: WriteOptions;
  readonly deadline: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** After it failed in company, or others did: by itself, to find out whose fault it was. */
  alone: boolean;
}

/** Steps of one transaction: more would hold the lock, and the event loop, for longer than they save. */
const MAX_STEPS = 32;

/** Errors of a COMMIT. It may have taken effect all the same. */
const uncertain = new WeakSet<object>();

export function isUncertain(error: unknown): boolean {
  return typeof error === 'object' && error !== null && uncertain.has(error);
}

export function createWriter(db: DatabaseSync, path: string, busyTimeoutMs: number, notify: () => void): Writer {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  const waiting: Job[] = [];
  const drained: (() => void)[] = [];
  let synced: boolean | undefined;
  let scheduled = false;
  let closed = false;
  /** Attempts in a row that found the lock taken. */
  let refused = 0;

  function schedule(): void {
    if (scheduled) return;
    if (waiting.length === 0) {
      for (const done of drained.splice(0)) done();
      return;
    }
    scheduled = true;
    const run = (): void => {
      scheduled = false;
      flush();
      schedule();
    };
    // Jittered, so that processes that were refused together do not come back together.
    if (refused > 0) setTimeout(run, 1 + Math.random() * Math.min(2 ** refused, 16));
    else setImmediate(run);
  }

  function nextJobs(): Job[] {
    const now = Date.now();
    const jobs: Job[] = [];
    while (waiting.length > 0 && jobs.length < MAX_STEPS) {
      const job = waiting[0]!;
      const { signal } = job.options;
      if (signal?.aborted) {
        job.reject(signal.reason);
      } else if (now > job.deadline) {
        job.reject(
          adapterError(
            'busy',
            `the write lock of "${path}" was held by other processes until the deadline; nothing was written`,
          ),
        );
      } else if (job.alone && jobs.length > 0) {
        break;
      } else {
        jobs.push(job);
      }
      waiting.shift();
      if (job.alone && jobs.length > 0) break;
    }
    return jobs;
  }

  function flush(): void {
    const jobs = nextJobs();
    if (jobs.length === 0) return;
    try {
      setSync(jobs.some((job) => job.options.durable));
      begin.run();
      refused = 0;
    } catch (error) {
      if (isBusy(error)) refuse(jobs);
      else for (const job of jobs) job.reject(error);
      return;
    }
    const results: unknown[] = [];
    try {
      for (const job of jobs) results.push(job.step());
    } catch (error) {
      undo();
      if (isBusy(error)) {
        refuse(jobs);
      } else if (jobs.length === 1) {
        jobs[0]!.reject(error);
      } else {
        for (const job of jobs) job.alone = true;
        waiting.unshift(...jobs);
      }
      return;
    }
    try {
      commit.run();
    } catch (error) {
      undo();
      if (isBusy(error)) {
        refuse(jobs);
      } else {
        if (typeof error === 'object' && error !== null) uncertain.add(error);
        for (const job of jobs) job.reject(error);
      }
      return;
    }
    jobs.forEach((job, index) => {
      job.resolve(results[index]);
    });
    if (jobs.some((job) => job.options.notify)) notify();
  }

  function refuse(jobs: readonly Job[]): void {
    refused += 1;
    waiting.unshift(...jobs);
  }

  function undo(): void {
    try {
      rollback.run();
    } catch {
      // SQLite has rolled back by itself, as it does on a full disk and on I/O errors.
    }
  }

  function setSync(durable: boolean): void {
    if (synced === durable) return;
    db.exec(durable ? 'PRAGMA synchronous = FULL' : 'PRAGMA synchronous = NORMAL');
    synced = durable;
  }

  return {
    write<T>(step: () => T, options: WriteOptions): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        if (closed) throw adapterError('broker-unreachable', `"${path}" was closed by this adapter`);
        const deadline = options.deadline ?? Date.now() + busyTimeoutMs;
        waiting.push({ step, options, deadline, resolve: resolve as (value: unknown) => void, reject, alone: false });
        schedule();
      });
    },
    close() {
      closed = true;
      return new Promise((resolve) => {
        drained.push(resolve);
        schedule();
      });
    },
  };
}
