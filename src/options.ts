/** Checks of what users pass in: unknown names with a hint, types and ranges with what was received. */

export type Check = (value: unknown) => string | undefined;

/** Throws a TypeError that lists every wrong option at once, with the nearest valid name for a misspelt one. */
export function checkOptions(what: string, options: unknown, checks: Readonly<Record<string, Check>>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`${what} must be an object, received ${describe(options)}`);
  }
  const problems: string[] = [];
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) {
      const near = nearest(name, Object.keys(checks));
      problems.push(`"${name}" is not an option${near === undefined ? '' : `; did you mean "${near}"?`}`);
    } else if (value !== undefined) {
      const problem = check(value);
      if (problem !== undefined) problems.push(`"${name}" ${problem}, received ${describe(value)}`);
    }
  }
  if (problems.length > 0) throw new TypeError(`${what}: ${problems.join('; ')}`);
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
export const oneOf =
  (...names: readonly string[]): Check =>
  (value) =>
    names.includes(value as string) ? undefined : `must be one of ${names.map((name) => `'${name}'`).join(', ')}`;
export const anything: Check = () => undefined;

/** A value in a few words, never its contents where those may be secret. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'string')
    return value.length > 60 ? `a string of ${value.length} characters` : JSON.stringify(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object') return `an object (${value.constructor?.name ?? 'no prototype'})`;
  return value === undefined ? 'undefined' : `a ${typeof value}`;
}

/** The candidate within two edits (or a third of the length), if any. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
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
