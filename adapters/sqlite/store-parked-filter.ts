import type { ParkedFilter, ParkedListOptions, ParkedWhere } from '../../src/port.ts';
import { checkNames, describe, throwAll, unknownIn } from './options.ts';

const FILTER = ['where', 'signal'];
const LIST = [...FILTER, 'after', 'limit'];
const WHERE = ['reason', 'ids', 'topic', 'key', 'since', 'before'];

/** Throws a `TypeError` that names every wrong option. */
export function checkFilter(what: string, options: ParkedListOptions, names: readonly string[] = FILTER): void {
  const { where, signal, after, limit } = checkNames(what, options, names);
  throwAll(what, [
    ...unknownIn(options, names),
    optional(where, isObject) ? undefined : wrong('where', 'an object', where),
    optional(signal, isSignal) ? undefined : wrong('signal', 'an AbortSignal', signal),
    optional(after, isPlace) ? undefined : wrong('after', 'the cursor of a parked message', after),
    optional(limit, isCount) ? undefined : wrong('limit', 'a whole number from 1', limit),
  ]);
  if (where !== undefined) checkWhere(`${what}.where`, where);
}

export const checkList = (what: string, options: ParkedListOptions): void => checkFilter(what, options, LIST);

/** What names nothing at all discards nothing: a variable that happens to be undefined does not name all. */
export function checkDiscard(what: string, filter: ParkedFilter): void {
  checkFilter(what, filter);
  const named = filter.where !== undefined && Object.values(filter.where).some((value) => value !== undefined);
  if (!named) throw new TypeError(`${what} needs a filter: { where: { reason } } or { where: { ids } }, with a value`);
}

function checkWhere(what: string, where: ParkedWhere): void {
  const { reason, ids, topic, key, since, before } = where;
  throwAll(what, [
    ...unknownIn(where, WHERE),
    optional(reason, isName) ? undefined : wrong('reason', 'a non-empty string', reason),
    optional(ids, isIds) ? undefined : wrong('ids', 'an array of ids', ids),
    optional(topic, isName) ? undefined : wrong('topic', 'a non-empty string', topic),
    optional(key, isText) ? undefined : wrong('key', 'a string', key),
    optional(since, isDate) ? undefined : wrong('since', 'a valid Date', since),
    optional(before, isDate) ? undefined : wrong('before', 'a valid Date', before),
  ]);
}

const wrong = (name: string, rule: string, value: unknown): string =>
  `takes ${rule} as "${name}", received ${describe(value)}`;
const optional = (value: unknown, check: (value: unknown) => boolean): boolean => value === undefined || check(value);
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const isSignal = (value: unknown): boolean => value instanceof AbortSignal;
/** No id, key or topic has U+0000 in it. */
const isText = (value: unknown): boolean => typeof value === 'string' && !value.includes('\0');
const isName = (value: unknown): boolean => value !== '' && isText(value);
const isIds = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isDate = (value: unknown): boolean => value instanceof Date && !Number.isNaN(value.getTime());
const isPlace = (value: unknown): boolean => typeof value === 'string' && /^\d{1,18}$/.test(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;
