import type { ParkedFilter, ParkedListOptions, ParkedWhere } from '../../src/port.ts';
import { assertObject, throwAll, unknownIn, wrong } from './options.ts';

const FILTER = ['where', 'signal'];
const LIST = [...FILTER, 'after', 'limit'];
const WHERE = ['reason', 'ids', 'topic', 'key', 'since', 'before'];

/** Throws a `TypeError` that names every wrong option. */
export function checkFilter(what: string, options: ParkedListOptions, names: readonly string[] = FILTER): void {
  assertObject(what, options);
  const { where, signal, after, limit } = options;
  throwAll(what, [
    ...unknownIn(options, names),
    optional(where, isObject) ? undefined : wrong('where', 'be an object', where),
    optional(signal, isSignal) ? undefined : wrong('signal', 'be an AbortSignal', signal),
    optional(after, isPlace) ? undefined : wrong('after', 'be the cursor of a parked message', after),
    optional(limit, isCount) ? undefined : wrong('limit', 'be a whole number from 1', limit),
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
    optional(reason, isName) ? undefined : wrong('reason', 'be a non-empty string', reason),
    optional(ids, isIds) ? undefined : wrong('ids', 'be an array of ids', ids),
    optional(topic, isName) ? undefined : wrong('topic', 'be a non-empty string', topic),
    optional(key, isText) ? undefined : wrong('key', 'be a string', key),
    optional(since, isDate) ? undefined : wrong('since', 'be a valid Date', since),
    optional(before, isDate) ? undefined : wrong('before', 'be a valid Date', before),
  ]);
}

const optional = (value: unknown, check: (value: unknown) => boolean): boolean => value === undefined || check(value);
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const isSignal = (value: unknown): boolean => value instanceof AbortSignal;
/** No text of the database holds U+0000, which it refuses in a question, too. */
const isText = (value: unknown): boolean => typeof value === 'string' && !value.includes('\0');
const isName = (value: unknown): boolean => value !== '' && isText(value);
const isIds = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isDate = (value: unknown): boolean => value instanceof Date && !Number.isNaN(value.getTime());
const isPlace = (value: unknown): boolean => typeof value === 'string' && /^\d{1,18}$/.test(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;
