import { createRequire } from 'node:module';

/*
 * kafkajs 2.2.4 looks every millisecond, on every connection, whether a request waits for a broker's throttling to end,
 * also where none waits (network/requestQueue: `setTimeout(…, -1 - Date.now())`). That costs 2 to 3 % of a core per idle
 * connection and makes Node print `TimeoutNegativeWarning`. With nothing pending there is nothing to look for: each
 * request that has to wait schedules its own check.
 */

interface RequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}

let done = false;

/** Lets idle connections be idle. Does nothing where kafkajs is built otherwise. */
export function quietIdleConnections(): void {
  if (done) return;
  done = true;
  try {
    const queue = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as {
      prototype?: Partial<RequestQueue>;
    };
    const original = queue.prototype?.scheduleCheckPendingRequests;
    if (queue.prototype === undefined || typeof original !== 'function') return;
    queue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
      if (this.pending.length > 0) original.call(this);
    };
  } catch {
    // Another build of kafkajs: it works the same, less quietly.
  }
}
