/** Readable lines for people: time, level, what happened, then facts as name=value. */

import { printable } from '../printable.ts';

export type Facts = Readonly<Record<string, string | number | undefined>>;
export type Log = (level: 'info' | 'warn' | 'error', what: string, facts?: Facts) => void;

/** Errors and warnings go to stderr, the rest to stdout. */
export const log: Log = (level, what, facts = {}) => {
  const rest = Object.entries(facts)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${quoted(String(value))}`)
    .join('');
  const line = `${new Date().toISOString()} ${level.padEnd(5)} ${printable(what, 4_096)}${rest}`;
  if (level === 'info') console.log(line);
  else console.error(line);
};

/** A line stays a line, whatever an error's text holds. */
const quoted = (text: string): string => (/^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text));
