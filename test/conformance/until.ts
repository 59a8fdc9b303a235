import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

const patience = new AsyncLocalStorage<number>();

/** Within `run`, any one condition is waited for so long at most, however slow the machine. */
export function withPatience<T>(ms: number, run: () => Promise<T>): Promise<T> {
  return patience.run(ms, run);
}

export function patienceMs(): number {
  return patience.getStore() ?? 40_000;
}

/** Waits for a condition that nothing announces, by looking. Fails by saying what never came. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs: number = patienceMs(),
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${withinMs} ms in vain until ${what}`);
    await sleep(10);
  }
}

/** A promise to be settled from outside. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: () => resolve() };
}
