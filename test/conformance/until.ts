import { setTimeout as sleep } from 'node:timers/promises';

/** The longest that any condition of the suite is waited for, however slow the machine. */
export const PATIENCE_MS = 40_000;

/** Waits for a condition that nothing announces, by looking. Fails by saying what never came. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs: number = PATIENCE_MS,
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
