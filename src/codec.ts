import { HoldfastError } from './errors.ts';

/** Turns payloads into bytes and back. `decode(encode(value))` must equal `value`. */
export interface Codec {
  readonly contentType: string;
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

const MAX_DEPTH = 64;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * JSON, strictly: refuses whatever JSON would silently change (undefined, NaN, −0, Date, Map, class instances, cycles,
 * sparse arrays, lone surrogates, `toJSON`), naming the path; and on the way in, invalid UTF-8, `__proto__` keys and
 * more than 64 levels.
 */
export const jsonCodec: Codec = {
  contentType: 'application/json',
  encode(value) {
    assertFaithful(value, '$', 0);
    return Buffer.from(JSON.stringify(value), 'utf8');
  },
  decode(bytes) {
    const source = utf8.decode(bytes);
    const value: unknown = JSON.parse(source);
    if (typeof value === 'object' && value !== null) assertHarmless(value, 0);
    return value;
  },
};

function refuse(path: string, why: string): never {
  throw new HoldfastError(
    'not-encodable',
    `The payload cannot be encoded as JSON without changing it: ${why} at ${path}`,
    {
      details: { path },
    },
  );
}

function assertFaithful(value: unknown, path: string, depth: number): void {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) refuse(path, 'a lone surrogate');
      return;
    case 'number':
      if (!Number.isFinite(value)) refuse(path, String(value));
      if (Object.is(value, -0)) refuse(path, '-0');
      return;
    case 'boolean':
      return;
    case 'object':
      if (value === null) return;
      if (depth >= MAX_DEPTH) refuse(path, `more than ${MAX_DEPTH} levels (or a cycle)`);
      if (Array.isArray(value)) assertFaithfulArray(value, path, depth);
      else assertFaithfulObject(value, path, depth);
      return;
    default:
      refuse(path, typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`);
  }
}

function assertFaithfulArray(value: readonly unknown[], path: string, depth: number): void {
  for (let index = 0; index < value.length; index += 1) {
    if (!(index in value)) refuse(`${path}[${index}]`, 'a hole');
    assertFaithful(value[index], `${path}[${index}]`, depth + 1);
  }
}

function assertFaithfulObject(value: object, path: string, depth: number): void {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    refuse(path, `an instance of ${value.constructor?.name ?? 'a class'}`);
  }
  if (Object.getOwnPropertySymbols(value).length > 0) refuse(path, 'a symbol key');
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') refuse(path, 'toJSON');
  for (const name of Object.keys(value)) {
    if (name === '__proto__') refuse(path, 'a key named __proto__');
    if (!name.isWellFormed()) refuse(path, 'a key with a lone surrogate');
    assertFaithful((value as Record<string, unknown>)[name], `${path}.${name}`, depth + 1);
  }
}

function assertHarmless(value: object, depth: number): void {
  if (depth >= MAX_DEPTH) throw new SyntaxError(`nested more than ${MAX_DEPTH} levels`);
  if (!Array.isArray(value) && Object.hasOwn(value, '__proto__')) throw new SyntaxError('a key named __proto__');
  for (const child of Array.isArray(value) ? value : Object.values(value)) {
    if (typeof child === 'object' && child !== null) assertHarmless(child, depth + 1);
  }
}
