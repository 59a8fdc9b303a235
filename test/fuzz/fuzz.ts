import fc from 'fast-check';
import { it } from 'vitest';
import { isPrintable } from '../../src/printable.ts';

/**
 * How many cases all properties of this folder have together, at least: 50,000 in `npm test`, with a seed that does not change, so
 * that a run says something about the change it tests; a million and a new seed in `npm run fuzz`.
 */
const CASES = Number(process.env.HOLDFAST_FUZZ_CASES ?? 50_000);
const SEED = Number(process.env.HOLDFAST_FUZZ_SEED ?? 20_261_121);

/** A promise, tried on its share (in percent) of all cases. A failure prints the seed and path that repeat it. */
export function fuzz<T>(promise: string, percent: number, cases: fc.Arbitrary<T>, holds: (value: T) => void): void {
  const numRuns = Math.ceil((CASES * percent) / 100);
  it(promise, { timeout: 3_600_000 }, () => fc.assert(fc.property(cases, holds), { numRuns, seed: SEED }));
}

/** Anything at all, also what throws when it is looked at (by its names: fast-check itself looks at symbols). */
export const anything: fc.Arbitrary<unknown> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.anything({
      withDate: true,
      withMap: true,
      withSet: true,
      withBigInt: true,
      withSparseArray: true,
      withTypedArray: true,
      withNullPrototype: true,
      withObjectString: true,
      withUnicodeString: true,
      maxDepth: 3,
    } as never),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      new Proxy({}, { get: (_, name) => (typeof name === 'symbol' ? undefined : fail()), ownKeys: fail }),
      {
        get a() {
          return fail();
        },
      },
      { toString: fail, valueOf: fail },
      () => 1,
      Symbol('s'),
    ),
  },
);
/** Faster than expect, of which there would be many millions. */
export function ensure(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`not so: ${what}`);
}

function fail(): never {
  throw new RangeError('hostile');
}

/** Text with what breaks parsers, terminals and grammars. */
export const text: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      'a',
      'Z',
      '0',
      '.',
      '-',
      '_',
      ':',
      '/',
      '@',
      '%',
      '%zz',
      '\0',
      '\n',
      '\ud800',
      '"',
      '\\',
      '{',
      '[',
      'ä',
      '€',
    ),
    maxLength: 30,
  }),
);

/** Names of headers and fields: ours, the brokers', CloudEvents', prototypes', anybody's. */
export const fieldName: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    'hf-id',
    'hf-key',
    'hf-source',
    'hf-dedupe',
    'hf-expires',
    'hf-attempts',
    'hf-mark-attempts',
    'hf-header-CC',
    'hf-u-content-type',
    'hf-k-lane',
    'hf-k-part',
    'hf-k-at',
    'hf-k-wait',
    'hf-k-time',
    'hf-k-letter',
    'hf-k-key',
    'hf-letter-id',
    'hf-',
    'x-death',
    'x-delivery-count',
    'x-',
    'ce_id',
    'ce_source',
    'ce_time',
    'ce_specversion',
    'ce_type',
    'cloudEvents:id',
    'cloudEvents_id',
    'cloudEvents:time',
    'cloudEvents_source',
    'content-type',
    'CC',
    'BCC',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'body',
    'data',
    'payload',
    'id',
    'key',
    'time',
    'expires',
    'h:a',
    'h:__proto__',
    'h:hf-id',
    'source',
  ),
  text,
);

/** A header that the core would let pass. */
export const headers: fc.Arbitrary<Record<string, string>> = fc.dictionary(
  fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,10}$/).filter((name) => !/^(hf-|x-|ce_|cloudevents[:_])/i.test(name)),
  fc.string({ unit: 'grapheme', maxLength: 20 }).filter(isPrintable),
  { maxKeys: 4, noNullPrototype: true },
);
