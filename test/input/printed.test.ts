import { PassThrough, Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { watchFor } from '../printed.ts';

const secret = 'secret-7';
const watched = async (...pieces: readonly string[]): Promise<{ found: boolean; printed: string }> => {
  const watch = watchFor(secret);
  const to = new PassThrough();
  await watch.pass(Readable.from(pieces.map((piece) => Buffer.from(piece))), to);
  return { found: watch.found, printed: (to.read() as Buffer | null)?.toString() ?? '' };
};

it.each<readonly [string, readonly string[], boolean]>([
  ['in one piece', ['a secret-7 b'], true],
  ['in two pieces', ['a sec', 'ret-7 b'], true],
  ['letter by letter', [...'a secret-7 b'], true],
  ['in colours', ['\u001b[31msec\u001b[7mret\u001b[27m-7\u001b[39m'], true],
  ['not at all', ['a secret-8', 'sec', ' ret-7'], false],
])('a secret that is printed %s is found, and all is handed on', async (_, pieces, found) => {
  expect(await watched(...pieces)).toEqual({ found, printed: pieces.join('') });
});
