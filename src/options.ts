/** Checks of what users pass in: unknown names with a hint, types and ranges with what was received. */

import { redact } from './errors.ts';
import { printable } from './printable.ts';

/** What is wrong with a value, as the rest of a sentence. */
export type Check = (value: unknown) => string | undefined;
/** By name of the option. Options that are objects of options have checks of their own. */
export interface Checks {
  readonly [name: string]: Check | Checks;
}

/** Wrong options: each problem, with the option's path. */
export class OptionsError extends TypeError {
  readonly code = 'invalid-option';
  readonly problems: readonly string[];
  constructor(what: string, problems: readonly string[]) {
    super(`${what}: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/**
 * Throws a TypeError that lists every wrong option at once, with the nearest valid name for a misspelt one. `required`
 * names the options that may not be left out, with an example.
 */
export function checkOptions(
  what: string,
  options: unknown,
  checks: Checks,
  required: Readonly<Record<string, string>> = {},
): void {
  const problems = problemsOf(what, options, checks, required);
  if (problems.length > 0) throw new OptionsError(what, problems);
}

/** The same as a list, to be put together with others'. `path` is what stands before the options' names. */
export function problemsOf(
  what: string,
  options: unknown,
  checks: Checks,
  required: Readonly<Record<string, string>> = {},
  path = '',
): readonly string[] {
  if (!isObject(options)) throw new OptionsError(what, [`must be an object, received ${describe(options)}`]);
  const problems: string[] = [];
  for (const name in required) {
    if (options[name] === undefined) problems.push(`"${name}" is missing, for example ${required[name]}`);
  }
  addWrong(problems, options, checks, path);
  return problems;
}

/** Publishing comes here with every message that has options. */
function addWrong(problems: string[], options: Readonly<Record<string, unknown>>, checks: Checks, path: string): void {
  for (const name of Object.keys(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    const value = options[name];
    if (check === undefined) problems.push(unknownOption(name, checks, path));
    else if (value === undefined) continue;
    else if (typeof check === 'function') {
      const problem = check(value);
      if (problem !== undefined) problems.push(`"${path}${name}" ${problem}, received ${describe(value)}`);
    } else if (isObject(value)) addWrong(problems, value, check, `${path}${name}.`);
    else problems.push(`"${path}${name}" must be an object, received ${describe(value)}`);
  }
}

function unknownOption(name: string, checks: Checks, path: string): string {
  const near = nearest(name, Object.keys(checks));
  return `"${path}${printable(name, 64)}" is not an option${near === undefined ? '' : `; did you mean "${path}${near}"?`}`;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A Map, a Set or the Headers of fetch would seem to be empty. */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** Longest wait that Node's timers keep; above it they fire at once. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

export const durationMs: Check = (value) =>
  typeof value === 'number' && value >= 0 && value <= MAX_TIMER_MS
    ? undefined
    : `must be a number of milliseconds from 0 to ${MAX_TIMER_MS}`;
export const positiveMs: Check = (value) =>
  typeof value === 'number' && value > 0 && value <= MAX_TIMER_MS
    ? undefined
    : `must be a number of milliseconds above 0 and up to ${MAX_TIMER_MS}`;
export const count =
  (least: number, most: number = Number.MAX_SAFE_INTEGER): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `must be a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`}`;
export const text: Check = (value) =>
  typeof value === 'string' && value.length > 0 ? undefined : 'must be a non-empty string';
export const func: Check = (value) => (typeof value === 'function' ? undefined : 'must be a function');
export const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'must be true or false');
export const object: Check = (value) => (typeof value === 'object' && value !== null ? undefined : 'must be an object');
export const signal: Check = (value) => (value instanceof AbortSignal ? undefined : 'must be an AbortSignal');
export const positive: Check = (value) =>
  typeof value === 'number' && value > 0 && Number.isFinite(value) ? undefined : 'must be a number above 0';
/** Slower is a pause, and faster than this is no limit. */
export const perSecond: Check = (value) =>
  typeof value === 'number' && value >= 0.001 && value <= 1_000_000
    ? undefined
    : 'must be a number from 0.001 to 1,000,000';
export const oneOf =
  (...names: readonly string[]): Check =>
  (value) =>
    names.includes(value as string) ? undefined : `must be one of ${names.map((name) => `'${name}'`).join(', ')}`;
export const anything: Check = () => undefined;

/** A value in a few words: no long text, no object's contents, no password of a URL. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'string')
    return value.length > 60 ? `a string of ${value.length} characters` : `"${printable(redact(value), 80)}"`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object') return `an object (${classOf(value)})`;
  return value === undefined ? 'undefined' : `a ${typeof value}`;
}

export function classOf(object: object): string {
  const prototype = Object.getPrototypeOf(object) as { readonly constructor?: unknown } | null;
  const made = prototype?.constructor;
  return typeof made === 'function' ? printable(made.name, 64) || 'a class' : 'no prototype';
}

/** The candidate within two edits (or a third of the length), if any. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > 64) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(row[j - 1]! + 1, previous[j]! + 1, swap));
    }
    previous = row;
  }
  return previous[b.length]!;
}
