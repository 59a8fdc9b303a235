/**
 * What a parsed JSON document may hold that its consumers would stumble over: names that pollute prototypes when they are
 * copied, names that are there twice (parsers differ in which one counts), numbers that have lost digits, depth that ends
 * a stack.
 */

/** Levels of arrays and objects. */
export const MAX_DEPTH = 64;

/** A name that changes a prototype where its value is copied name by name. */
export function isPoisoned(name: string, value: unknown): boolean {
  if (name === '__proto__') return true;
  return name === 'constructor' && typeof value === 'object' && value !== null && Object.hasOwn(value, 'prototype');
}

/** Throws a SyntaxError that says what is wrong, never quoting the document. */
export function assertHarmless(value: unknown, source: string): void {
  const colons = weigh(value, 0);
  if (colons === 0) return;
  // Each name takes one colon, and strings hold the others: where some are left over, a name may have replaced one that
  // was there before. Names may hold colons, and escapes hide them, so an exact count decides.
  const exact = colons < LOST && colons === count(source, ':') && !source.includes('\\');
  if (!exact && namesOf(value) !== namesIn(source)) throw new SyntaxError('a key twice');
  if (colons >= LOST && !numbersKept(source)) throw new SyntaxError('a number of more digits than a number holds');
}

/** What a number weighs that may have lost digits: more than a document has colons. */
const LOST = 2 ** 40;

/**
 * How many names and colons in strings the value has. Every message passes here, so no list of names is made for any
 * object, and a call is made only for what is not plain.
 */
function weigh(value: unknown, depth: number): number {
  if (typeof value === 'string') return value.includes(':') ? count(value, ':') : 0;
  if (typeof value === 'number') return isSafe(value) ? 0 : LOST;
  return typeof value === 'object' && value !== null ? weighAll(value, depth) : 0;
}

function weighAll(value: object, depth: number): number {
  if (depth >= MAX_DEPTH) throw new SyntaxError(`nested more than ${MAX_DEPTH} levels`);
  let colons = 0;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) colons += weigh(value[index], depth + 1);
    return colons;
  }
  for (const name in value) {
    const child = (value as Readonly<Record<string, unknown>>)[name];
    if ((name === '__proto__' || name === 'constructor') && isPoisoned(name, child)) {
      throw new SyntaxError(`a key named ${name}`);
    }
    colons += 1 + weigh(child, depth + 1);
  }
  return colons;
}

const isSafe = (value: number): boolean => value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER;

function count(text: string, character: string): number {
  let found = 0;
  for (let at = text.indexOf(character); at !== -1; at = text.indexOf(character, at + 1)) found += 1;
  return found;
}

/** Colons outside of strings. */
function namesIn(source: string): number {
  let found = 0;
  let quoted = false;
  for (let at = 0; at < source.length; at += 1) {
    const code = source.charCodeAt(at);
    if (code === 0x22) quoted = !quoted;
    else if (code === 0x5c) at += 1;
    else if (code === 0x3a && !quoted) found += 1;
  }
  return found;
}

function namesOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const children: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
  let names = children === value ? 0 : children.length;
  for (const child of children) names += namesOf(child);
  return names;
}

/** Since Node 21; TypeScript's library does not know it yet. */
type Reviver = (name: string, value: unknown, context: { readonly source?: string }) => unknown;
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => unknown;

function numbersKept(source: string): boolean {
  let kept = true;
  parseWithSource(source, (_, value, { source: digits }) => {
    if (typeof value === 'number' && !Number.isSafeInteger(value) && digits !== undefined)
      kept &&= holds(value, digits);
    return undefined;
  });
  return kept;
}

/** Fractions are rounded everywhere; whole numbers are ids and amounts. */
function holds(value: number, digits: string): boolean {
  if (!Number.isFinite(value)) return false;
  return !/^-?\d+$/.test(digits) || digits === String(value) || BigInt(digits) === BigInt(value);
}
