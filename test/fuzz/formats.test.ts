import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe } from 'vitest';
import { decode } from '../../src/consume/decode.ts';
import { deadMarks, readProgress, readSuspicion, retryMarks } from '../../src/consume/marks.ts';
import { messageOf, redact, textOf } from '../../src/errors.ts';
import { defineTopic, isHoldfastError, jsonCodec } from '../../src/index.ts';
import type { Delivery } from '../../src/port.ts';
import { isPrintable } from '../../src/printable.ts';
import { CANARY } from '../input/canary.ts';
import { anything, ensure, fieldName, fuzz, text } from './fuzz.ts';

const utf8 = new TextEncoder();

/** What a call throws; undefined where it returns. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
    return undefined;
  } catch (error) {
    return error ?? new Error('nothing was thrown');
  }
}

describe('JSON', () => {
  /** Documents, nearly: put together from their pieces, or real ones with a byte changed. */
  const pieces = fc.array(
    fc.oneof(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"',
        '"a"',
        '"a":',
        '"a:b":',
        '"__proto__":',
        '"constructor":',
        '"prototype":',
        '"\\u0061":',
        '"\\u005f_proto__":',
        '\\',
        '\\u003a',
        'null',
        'true',
        '-0',
        '1e400',
        '9007199254740993',
        '1',
        ' ',
        '\n',
        '\ufeff',
        '\0',
      ),
      text,
    ),
    { maxLength: 14 },
  );
  const document = fc.oneof(
    pieces.map((parts) => utf8.encode(parts.join(''))),
    fc.uint8Array({ maxLength: 60 }),
    fc
      .tuple(fc.json({ maxDepth: 4, noUnicodeString: false } as never), fc.nat(), fc.nat(255), fc.boolean())
      .map(([json, at, byte, change]) => {
        const bytes = utf8.encode(json);
        if (change && bytes.length > 0) bytes[at % bytes.length] = byte;
        return bytes;
      }),
    // Objects that name a key twice, sooner or later.
    fc
      .array(
        fc.tuple(fc.constantFrom('a', 'b', 'a:b', '\\u0061', ':'), fc.constantFrom('1', '":"', '{"a":1}', '"\\u003a"')),
        { maxLength: 4 },
      )
      .map((pairs) => utf8.encode(`{${pairs.map(([name, value]) => `"${name}":${value}`).join(', ')}}`)),
  );
  fuzz(
    'bytes are refused with an Error that does not quote them, or are what JSON.parse makes of them',
    14,
    document,
    (bytes) => {
      let value: unknown;
      try {
        value = jsonCodec.decode(bytes);
      } catch (error) {
        ensure(error instanceof SyntaxError || error instanceof TypeError, 'the error is typed');
        ensure(error.message.length < 100, 'the error does not quote');
        return;
      }
      const source = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
      ensure(isDeepStrictEqual(value, JSON.parse(source)), 'the value is that of JSON.parse');
      ensure(!hasTwice(source), 'no name is there twice');
    },
  );
  fuzz('a value is refused as not-encodable with a path, or comes back as it was', 10, anything, (value) => {
    let bytes: Uint8Array;
    try {
      bytes = jsonCodec.encode(value);
    } catch (error) {
      const typed =
        isHoldfastError(error) && error.code === 'not-encodable' && String(error.details.path).startsWith('$');
      ensure(
        typed || (error instanceof RangeError && error.message === 'hostile') || error instanceof TypeError,
        'the error is typed',
      );
      return;
    }
    ensure(JSON.stringify(jsonCodec.decode(bytes)) === JSON.stringify(value), 'it comes back');
  });
  fuzz(
    'what is faithful is taken, and comes back equal',
    4,
    fc.jsonValue({ maxDepth: 4, noUnicodeString: false } as never),
    (value) => {
      if (JSON.stringify(value)?.includes('__proto__')) return;
      const error = thrownBy(() => jsonCodec.encode(value));
      if (error !== undefined)
        return ensure(/-0|surrogate|toJSON|constructor/.test(messageOf(error)), 'only what JSON changes is refused');
      ensure(isDeepStrictEqual(jsonCodec.decode(jsonCodec.encode(value)), toPlain(value)), 'it comes back');
    },
  );
  const topic = defineTopic<unknown>('fuzz', { maxBytes: 40 });
  fuzz(
    'a delivery is decoded, or refused with a HoldfastError',
    3,
    fc.tuple(
      document,
      fc.option(fc.constantFrom('application/json', 'application/octet-stream', 'x'), { nil: undefined }),
    ),
    ([body, contentType]) => {
      const error = thrownBy(() => decode(topic, { message: { body, contentType } } as Delivery));
      if (error === undefined) return;
      ensure(isHoldfastError(error) && ['undecodable', 'message-too-large'].includes(error.code), 'the error is typed');
    },
  );
});

/** By a parser of its own: the names of every object, one after the other. */
function hasTwice(source: string): boolean {
  const open: (Set<string> | undefined)[] = [];
  let twice = false;
  for (const [token, name] of source.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (name !== undefined) {
      const plain = JSON.parse(name) as string;
      twice ||= open.at(-1)?.has(plain) === true;
      open.at(-1)?.add(plain);
    }
  }
  return twice;
}

const toPlain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('marks', () => {
  fuzz(
    'whatever stands there is read as counts, or as nothing',
    4,
    fc.dictionary(fc.oneof(fc.constantFrom('attempts', 'first-failed', 'suspect', 'begun'), fieldName), text, {
      maxKeys: 4,
    }),
    (marks) => {
      const { attempts, firstFailedAt } = readProgress(marks);
      ensure(Number.isSafeInteger(attempts) && attempts >= 0, 'attempts are a count');
      ensure(firstFailedAt === undefined || Number.isSafeInteger(firstFailedAt), 'a time is one');
      readSuspicion(marks);
      ensure(readProgress(retryMarks({ attempts, firstFailedAt }, 5)).attempts === attempts, 'they come back');
    },
  );
  fuzz(
    'of whatever a handler throws, a dead letter says what can be shown',
    4,
    fc.oneof(
      anything,
      text.map((message) => new Error(message)),
    ),
    (error) => {
      const failure = { reason: 'failed', error, group: 'g', attempts: 1, firstFailedAt: 1 };
      for (const value of Object.values(
        deadMarks(failure as never, { position: 'p', message: { marks: {} } } as Delivery, 2),
      )) {
        ensure(
          typeof value === 'string' && isPrintable(value) && Buffer.byteLength(value) <= 4_096,
          'a mark is bounded, printable text',
        );
      }
      ensure(isPrintable(textOf(error)), 'its text is printable');
    },
  );
});

describe('secrets', () => {
  const scheme = fc.constantFrom('amqp', 'amqps', 'redis', 'rediss', 'postgres', 'kafka', 'mongodb+srv');
  const part = fc.string({
    unit: fc.constantFrom('a', '1', '%40', '@', ':', '-', '.', '~', '!', '/', 'ä'),
    maxLength: 8,
  });
  fuzz(
    'no URL keeps its password, whatever stands around it',
    4,
    fc.tuple(text, scheme, part, part, part, text),
    ([before, protocol, user, left, right, after]) => {
      const url = `${protocol}://${user}:${left}${CANARY}${right}@host/path`;
      ensure(!redact(`${before} ${url} ${after}`).includes(CANARY), 'the password is gone');
      ensure(!redact(`${before}"${url}"`).includes(CANARY), 'the password is gone');
    },
  );
});
