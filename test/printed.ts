/** Hands on what a process prints, and looks for what must never be printed. */

import type { Readable, Writable } from 'node:stream';

export interface Watch {
  /** Everything from `from` goes to `to`. Resolves when it has ended. */
  pass(from: Readable, to: Writable): Promise<void>;
  /** Whether it was there, in any of the streams, also across the pieces in which they come. */
  readonly found: boolean;
}

/** Colours of terminals, which may stand between the letters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they begin with one
const COLOURS = /\u001b\[[\d;]*m/g;

export function watchFor(secret: string): Watch {
  let found = false;
  return {
    get found() {
      return found;
    },
    async pass(from, to) {
      const decoder = new TextDecoder();
      let tail = '';
      for await (const piece of from) {
        to.write(piece as Uint8Array);
        const text = tail + decoder.decode(piece as Uint8Array, { stream: true });
        found ||= text.replace(COLOURS, '').includes(secret);
        // As much as may hold the secret's beginning, with room for its colours.
        tail = text.slice(-8 * secret.length);
      }
    },
  };
}
