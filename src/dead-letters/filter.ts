import { type Check, checkOptions, count, object, signal, text } from '../options.ts';
import type { StoredLetter } from '../port.ts';
import { attemptsOf, deadTimeOf, letterName, reasonOf } from './letter.ts';

/** A letter must meet all that is given. */
export interface LetterWhere {
  readonly reason?: string;
  /** Ids of messages. */
  readonly ids?: readonly string[];
  readonly fingerprint?: string;
  readonly key?: string;
  /** Dead since then, or later. */
  readonly since?: Date;
  /** Dead earlier than that. */
  readonly before?: Date;
  /** Handled at least so often before it was given up. */
  readonly minAttempts?: number;
}
export interface LetterFilter {
  readonly where?: LetterWhere;
  readonly signal?: AbortSignal;
}

const ids: Check = (value) =>
  Array.isArray(value) && value.every((id) => typeof id === 'string') ? undefined : 'must be an array of ids';
export const date: Check = (value) =>
  value instanceof Date && !Number.isNaN(value.getTime()) ? undefined : 'must be a valid Date';
const key: Check = (value) => (typeof value === 'string' ? undefined : 'must be a string');

const WHERE_CHECKS: Readonly<Record<keyof LetterWhere, Check>> = {
  reason: text,
  ids,
  fingerprint: text,
  key,
  since: date,
  before: date,
  minAttempts: count(0),
};

export function checkFilter(what: string, filter: LetterFilter, more: Readonly<Record<string, Check>> = {}): void {
  checkOptions(what, filter, { where: object, signal, ...more });
  if (filter.where !== undefined) checkOptions(`${what}.where`, filter.where, { ...WHERE_CHECKS });
}

/** Whether it names anything at all: a variable that happens to be undefined does not. */
export function isEmpty({ where }: LetterFilter): boolean {
  return where === undefined || Object.values(where).every((value) => value === undefined);
}

export function matcher({ where = {} }: LetterFilter): (stored: StoredLetter) => boolean {
  const { reason, fingerprint, minAttempts } = where;
  const wanted = where.ids === undefined ? undefined : new Set(where.ids);
  const [since, before] = [where.since?.getTime(), where.before?.getTime()];
  return (stored) => {
    const { marks, key } = stored.message;
    if (reason !== undefined && reasonOf(stored) !== reason) return false;
    if (fingerprint !== undefined && marks.fingerprint !== fingerprint) return false;
    if (where.key !== undefined && key !== where.key) return false;
    if (minAttempts !== undefined && attemptsOf(stored) < minAttempts) return false;
    // What nobody dates counts as older than all.
    const died = deadTimeOf(stored) ?? 0;
    if (since !== undefined && died < since) return false;
    if (before !== undefined && died >= before) return false;
    return wanted === undefined || wanted.has(letterName(stored));
  };
}
