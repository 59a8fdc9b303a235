import { expect } from 'vitest';
import type { It } from '../conformance/options.ts';

/** Of a suite's cases the one with this in its title, to be run by itself. */
export function oneCase(title: string, suite: (it: It) => void): () => Promise<void> {
  const found: (() => Promise<void>)[] = [];
  suite((name, run) => void (name.includes(title) && found.push(run)));
  expect(found, `cases with “${title}” in their titles`).toHaveLength(1);
  return found[0]!;
}
