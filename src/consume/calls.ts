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

interface Why {
  readonly reason: unknown;
}

/** A class, so that a call costs its fields and no closures: there is one for each message. */
class HandlerCall implements Call {
  deadlineAt = 0;
  private controller: AbortController | undefined;
  private aborted: Why | undefined;
  private warned: Why | undefined;
  private resolve: (() => void) | undefined;
  private reject: ((reason: unknown) => void) | undefined;
  private readonly deadlines: Deadlines;

  constructor(deadlines: Deadlines) {
    this.deadlines = deadlines;
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      const why = this.aborted ?? this.warned;
      if (why !== undefined) this.controller.abort(why.reason);
    }
    return this.controller.signal;
  }

  invoke(handler: () => unknown): Promise<void> {
    if (this.aborted !== undefined) return Promise.reject(this.aborted.reason);
    const ended = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.deadlines.watch(this);
    try {
      const result = handler();
      if (isThenable(result))
        result.then(
          () => this.succeed(),
          (error: unknown) => this.fail(error),
        );
      else this.succeed();
    } catch (error) {
      this.fail(error);
    }
    return ended;
  }

  abort(reason: unknown): void {
    if (this.aborted !== undefined) return;
    this.aborted = { reason };
    this.fail(reason);
    this.controller?.abort(reason);
  }

  warn(reason: unknown): void {
    this.warned ??= { reason };
    this.controller?.abort(reason);
  }

  end(): void {
    this.deadlines.end(this);
  }

  private succeed(): void {
    this.deadlines.unwatch(this);
    this.resolve?.();
  }

  private fail(reason: unknown): void {
    this.deadlines.unwatch(this);
    this.reject?.(reason);
  }
}

/** What a handler gets beside its message. The signal is made when it is first asked for. */
export class HandlerContext {
  readonly tx: unknown;
  private readonly call: Call;
  constructor(tx: unknown, call: Call) {
    this.tx = tx;
    this.call = call;
  }
  get signal(): AbortSignal {
    return this.call.signal;
  }
}

interface Deadlines {
  watch(call: HandlerCall): void;
  unwatch(call: HandlerCall): void;
  end(call: HandlerCall): void;
}

export function createCalls(timeoutMs: number, describe: string): Calls {
  const open = new Set<HandlerCall>();
  // All deadlines are equally long, so insertion order is deadline order.
  const watched = new Set<HandlerCall>();
  let timer: NodeJS.Timeout | undefined;

  const deadlines: Deadlines = {
    watch(call) {
      call.deadlineAt = performance.now() + timeoutMs;
      watched.add(call);
      arm();
    },
    unwatch: (call) => void watched.delete(call),
    end(call) {
      open.delete(call);
      watched.delete(call);
    },
  };

  function arm(): void {
    if (timer !== undefined) return;
    const first = watched.values().next();
    if (first.done) return;
    timer = setTimeout(expire, Math.max(0, first.value.deadlineAt - performance.now()));
  }

  function expire(): void {
    timer = undefined;
    const now = performance.now();
    for (const call of watched) {
      if (call.deadlineAt > now) break;
      call.abort(
        new HoldfastError('handler-timeout', `The handler of ${describe} did not finish within ${timeoutMs} ms`, {
          details: { timeoutMs },
        }),
      );
    }
    arm();
  }

  return {
    get size() {
      return open.size;
    },
    begin() {
      const call = new HandlerCall(deadlines);
      open.add(call);
      return call;
    },
    abortAll(reason) {
      for (const call of [...open]) call.abort(reason);
    },
    close: () => clearTimeout(timer),
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
