/** Has every option read, and throws one TypeError with all that is wrong. */
export function gather<T>(read: (one: <V>(reader: () => V) => V) => T): T {
  const problems: string[] = [];
  const result = read((reader) => {
    try {
      return reader();
    } catch (error) {
      problems.push(error instanceof TypeError ? error.message : String(error));
      return undefined as never;
    }
  });
  if (problems.length > 0)
    throw Object.assign(new TypeError(problems.join('; ')), { code: 'invalid-option', problems });
  return result;
}

export function whole(key: string, value: unknown, least: number, most: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  return fail(key, `a whole number from ${least} to ${most}`, value);
}

export function text(key: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'string') fail(key, 'a string', value);
}

export function fail(key: string, wanted: string, received: unknown): never {
  const shown = received === undefined ? '' : shownOf(received);
  throw new TypeError(`redis option \`${key}\` must be ${wanted}${shown === '' ? '' : `; received ${shown}`}`);
}

/** Numbers and short words. Where a URL is given for something else, it may hold a password. */
function shownOf(received: unknown): string {
  if (typeof received === 'number' || typeof received === 'boolean') return String(received);
  return typeof received === 'string' && /^[\w.:-]{0,40}$/.test(received)
    ? JSON.stringify(received)
    : typeName(received);
}

const typeName = (value: unknown): string =>
  value === null
    ? 'null'
    : Array.isArray(value)
      ? 'an array'
      : `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`;

export function assertObject(what: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError(`${what} must be an object; received ${typeName(value)}`);
}

export function checkKeys(what: string, value: object, names: readonly string[]): void {
  assertObject(what, value);
  const unknown = Object.keys(value).filter((key) => !names.includes(key));
  if (unknown.length === 0) return;
  const problems = unknown.map((key) => {
    const short = key.slice(0, 64);
    const nearest = names.toSorted((a, b) => distance(short, a) - distance(short, b))[0];
    return `unknown key ${shownOf(short).replaceAll('"', '`')}; did you mean \`${nearest}\`?`;
  });
  throw new TypeError(`${what}: ${problems.join('; ')}`);
}

/** Edits between two short words. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, char] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++)
      next.push(
        Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (char.toLowerCase() === to[j]?.toLowerCase() ? 0 : 1)),
      );
    row = next;
  }
  return row[to.length] ?? 0;
}
