import { HoldfastError } from './errors.ts';
import { assertHarmless, isPoisoned, MAX_DEPTH } from './harmless.ts';
import { classOf } from './options.ts';
import { printable } from './printable.ts';

/** Turns payloads into bytes and back. `decode(encode(value))` must equal `value`. */
export interface Codec {
  readonly contentType: string;
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * JSON, strictly. Refuses what JSON would silently change (undefined, NaN, −0, Date, Map, class instances, cycles, sparse
 * arrays, lone surrogates, `toJSON`), naming the path. On the way in refuses invalid UTF-8, a byte order mark, keys that
 * are there twice, `__proto__` and `constructor.prototype`, and whole numbers that a JavaScript number cannot hold. At
 * most 64 levels either way.
 */
export const jsonCodec: Codec = {
  contentType: 'application/json',
  encode(value) {
    const fault = faultOf(value, 0);
    if (fault !== undefined) throw refusal(fault);
    return Buffer.from(JSON.stringify(value), 'utf8');
  },
  decode(bytes) {
    const source = utf8.decode(bytes);
    const value = parse(source);
    assertHarmless(value, source);
    return value;
  },
};

function parse(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch (error) {
    // What JSON.parse says quotes the payload, and this text ends in logs and dead letters.
    const at = /at position (\d+)/.exec((error as Error).message)?.[1];
    throw new SyntaxError(at === undefined ? 'not a JSON document' : `not a JSON document from position ${at} on`);
  }
}

/** Why a value cannot be encoded, and where: the path is put together from the inside out, and only where there is one. */
interface Fault {
  readonly why: string;
  readonly path: (string | number)[];
}
const fault = (why: string): Fault => ({ why, path: [] });

function faultOf(value: unknown, depth: number): Fault | undefined {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed() ? undefined : fault('a lone surrogate');
    case 'number':
      if (!Number.isFinite(value)) return fault(String(value));
      return Object.is(value, -0) ? fault('-0') : undefined;
    case 'boolean':
      return undefined;
    case 'object':
      if (value === null) return undefined;
      if (depth >= MAX_DEPTH) return fault(`more than ${MAX_DEPTH} levels (or a cycle)`);
      return Array.isArray(value) ? faultOfArray(value, depth) : faultOfObject(value, depth);
    case 'undefined':
      return fault('undefined');
    default:
      return fault(`a ${typeof value}`);
  }
}

function faultOfArray(array: readonly unknown[], depth: number): Fault | undefined {
  if (Object.getPrototypeOf(array) !== Array.prototype) return fault('an instance of a class');
  for (let index = 0; index < array.length; index += 1) {
    const item = array[index];
    const found = item === undefined && !(index in array) ? fault('a hole') : faultOf(item, depth + 1);
    if (found !== undefined) return within(found, index);
  }
  // No element is missing, so there are no more names than elements unless some name is none.
  return Object.keys(array).length > array.length ? fault('an array with names beside its elements') : undefined;
}

function faultOfObject(object: object, depth: number): Fault | undefined {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) return fault(`an instance of ${classOf(object)}`);
  if (Object.getOwnPropertySymbols(object).length > 0) return fault('a symbol key');
  if (typeof (object as { toJSON?: unknown }).toJSON === 'function') return fault('toJSON');
  for (const name of Object.keys(object)) {
    const child = (object as Record<string, unknown>)[name];
    if (isPoisoned(name, child)) return fault(`a key named ${name}`);
    if (!name.isWellFormed()) return fault('a key with a lone surrogate');
    const found = faultOf(child, depth + 1);
    if (found !== undefined) return within(found, name);
  }
  return undefined;
}

function within(found: Fault, name: string | number): Fault {
  found.path.push(name);
  return found;
}

function refusal({ why, path }: Fault): HoldfastError {
  const where = `$${path.reverse().map(step).join('')}`;
  return new HoldfastError(
    'not-encodable',
    `The payload cannot be encoded as JSON without changing it: ${why} at ${where}`,
    { details: { path: where } },
  );
}

function step(name: string | number): string {
  if (typeof name === 'number') return `[${name}]`;
  return /^[\w$-]{1,64}$/.test(name) ? `.${name}` : `["${printable(name, 64)}"]`;
}
