// A process of its own, started by run-case.ts: with a case in its arguments it lives that one life; without, it lives one
// for each case that it is told of.

import type { Case, Life } from './case.ts';
import { play } from './play.ts';
import { doing } from './until.ts';

export interface Told {
  readonly what: Case;
  readonly life: Life;
}
export type Answer = { readonly done: true } | { readonly error: string } | { readonly doing: string };

const tell = (answer: Answer): void => void process.send?.(answer);
const textOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

process.on('unhandledRejection', (error) => tell({ error: `unhandled rejection: ${textOf(error)}` }));
process.on('disconnect', () => process.exit(1));
process.on('message', (message: Told | 'doing?') => {
  if (message === 'doing?') return tell({ doing: doing.now });
  const { what, life } = message;
  const death = life === 'victim' ? what.death : life === 'forerunner' ? what.before : undefined;
  play(what, life, death).then(
    () => tell({ done: true }),
    (error: unknown) => tell({ error: textOf(error) }),
  );
});
