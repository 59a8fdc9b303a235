/** Virtual time: global timers, `Date` and randomness are replaced, so that an hour takes a moment and a seed repeats it (S37). */

import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import type { Random } from './random.ts';

export interface VirtualTime {
  /** Milliseconds since it began. */
  readonly now: number;
  /** Runs timers in order until `done`, or until `limitMs` have passed. Says whether it is done. */
  run(done: () => boolean, limitMs: number): Promise<boolean>;
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
  readonly everyMs: number | undefined;
}

class Handle {
  readonly order: number;
  constructor(order: number) {
    this.order = order;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  hasRef(): boolean {
    return true;
  }
}

const realImmediate = globalThis.setImmediate;
const RealDate = globalThis.Date;
const EPOCH = Date.UTC(2026, 0, 1);

/** Lets every promise that can go on do so. */
const settled = (): Promise<void> => new Promise((resolve) => realImmediate(resolve));

let current: VirtualTime | undefined;

/** Replaces the globals for the rest of the process; each call begins anew at 0, without timers. */
export function virtualTime(random: Random): VirtualTime {
  let now = 0;
  let orders = 0;
  const set = new Map<number, Timer>();
  const heap: Timer[] = [];

  function add(fn: () => void, ms: number, everyMs?: number): Handle {
    orders += 1;
    put({ at: now + Math.max(0, Number.isFinite(ms) ? ms : 0), order: orders, fn, everyMs });
    return new Handle(orders);
  }
  function put(timer: Timer): void {
    set.set(timer.order, timer);
    push(heap, timer);
  }
  const drop = (handle: Handle | undefined | null): void => {
    if (handle instanceof Handle) set.delete(handle.order);
  };
  const call =
    (fn: (...args: unknown[]) => void, args: readonly unknown[]): (() => void) =>
    () =>
      fn(...args);

  const globals = globalThis as unknown as Record<string, unknown>;
  globals.setTimeout = (fn: () => void, ms = 1, ...args: unknown[]) => add(call(fn, args), Math.max(1, ms));
  globals.setInterval = (fn: () => void, ms = 1, ...args: unknown[]) =>
    add(call(fn, args), Math.max(1, ms), Math.max(1, ms));
  globals.setImmediate = (fn: () => void, ...args: unknown[]) => add(call(fn, args), 0);
  globals.clearTimeout = drop;
  globals.clearInterval = drop;
  globals.clearImmediate = drop;
  globals.Date = class extends RealDate {
    constructor(...args: unknown[]) {
      super(...((args.length === 0 ? [EPOCH + now] : args) as [number]));
    }
    static override now(): number {
      return Math.floor(EPOCH + now);
    }
  };
  performance.now = () => now;
  Math.random = random.next;
  const id = (): `${string}-${string}-${string}-${string}-${string}` => {
    orders += 1;
    return `${orders}-${random.int(0, 2 ** 31)}-0-0-0`;
  };
  crypto.randomUUID = id;
  syncBuiltinESMExports();

  const time: VirtualTime = {
    get now() {
      return now;
    },
    async run(done, limitMs) {
      const end = now + limitMs;
      await settled();
      while (!done()) {
        if (current !== time) throw new Error('another simulation has begun');
        const timer = pop(heap);
        if (timer === undefined) return false;
        if (!set.delete(timer.order)) continue;
        if (timer.at > end) {
          put(timer);
          now = end;
          return false;
        }
        now = timer.at;
        if (timer.everyMs !== undefined) put({ ...timer, at: now + timer.everyMs });
        timer.fn();
        await settled();
      }
      return true;
    },
  };
  current = time;
  return time;
}

const before = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

function push(heap: Timer[], timer: Timer): void {
  let index = heap.push(timer) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (!before(timer, heap[parent]!)) break;
    heap[index] = heap[parent]!;
    index = parent;
  }
  heap[index] = timer;
}

function pop(heap: Timer[]): Timer | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
    if (!before(heap[child]!, last)) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = last;
  return first;
}
