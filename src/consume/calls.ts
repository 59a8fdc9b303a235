/** Handler calls in progress: one timer for all their deadlines, an abort signal for each that asks for it. */

import { HoldfastError } from '../errors.ts';

export interface Call {
  /** Aborts at the deadline, when the source loses the message, and when the consumer gives up draining. */
  readonly signal: AbortSignal;
  /** Runs the handler under the deadline. After an abort, what it still does or returns is ignored. */
  invoke(handler: () => unknown): Promise<void>;
  abort(reason: unknown): void;
  /** Aborts the signal alone: the call goes on until the handler returns or its deadline comes, and its key waits for it. */
  warn(reason: unknown): void;
  /** Ends the call: it can no longer be aborted. */
  end(): void;
}

export interface Calls {
  readonly size: number;
  begin(): Call;
  abortAll(reason: unknown): void;
  close(): void;
}

export function createCalls(timeoutMs: number, describe: string): Calls {
  const open = new Set<Call>();
  // All deadlines are equally long, so insertion order is deadline order.
  const deadlines = new Map<Call, number>();
  let timer: NodeJS.Timeout | undefined;

  function arm(): void {
    if (timer !== undefined) return;
    const first = deadlines.values().next();
    if (first.done) return;
    timer = setTimeout(expire, Math.max(0, first.value - performance.now()));
  }

  function expire(): void {
    timer = undefined;
    const now = performance.now();
    for (const [call, at] of deadlines) {
      if (at > now) break;
      deadlines.delete(call);
      call.abort(
        new HoldfastError('handler-timeout', `The handler of ${describe} did not finish within ${timeoutMs} ms`, {
          details: { timeoutMs },
        }),
      );
    }
    arm();
  }

  function begin(): Call {
    let controller: AbortController | undefined;
    let aborted: { readonly reason: unknown } | undefined;
    let warned: { readonly reason: unknown } | undefined;
    let fail: ((reason: unknown) => void) | undefined;
    const call: Call = {
      get signal() {
        if (controller === undefined) {
          controller = new AbortController();
          const why = aborted ?? warned;
          if (why !== undefined) controller.abort(why.reason);
        }
        return controller.signal;
      },
      invoke(handler) {
        return new Promise<void>((resolve, reject) => {
          if (aborted !== undefined) return reject(aborted.reason);
          fail = reject;
          deadlines.set(call, performance.now() + timeoutMs);
          arm();
          let result: unknown;
          try {
            result = handler();
          } catch (error) {
            return reject(error);
          }
          if (isThenable(result)) result.then(() => resolve(), reject);
          else resolve();
        }).finally(() => void deadlines.delete(call));
      },
      abort(reason) {
        if (aborted !== undefined) return;
        aborted = { reason };
        fail?.(reason);
        controller?.abort(reason);
      },
      warn(reason) {
        warned ??= { reason };
        controller?.abort(reason);
      },
      end() {
        open.delete(call);
        deadlines.delete(call);
      },
    };
    open.add(call);
    return call;
  }

  return {
    get size() {
      return open.size;
    },
    begin,
    abortAll(reason) {
      for (const call of [...open]) call.abort(reason);
    },
    close: () => clearTimeout(timer),
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
