import { randomUUID } from 'node:crypto';
import { HoldfastError } from './errors.ts';
import type { Headers, Incoming, Priority } from './port.ts';

/** A message as a handler sees it. */
export interface Message<T = unknown> {
  /** The same over every redelivery, retry and replay. */
  readonly id: string;
  readonly topic: string;
  readonly payload: T;
  readonly key: string | undefined;
  /** The publishing service; undefined on messages of foreign producers that do not say. */
  readonly source: string | undefined;
  readonly dedupeKey: string | undefined;
  readonly priority: Priority;
  readonly headers: Headers;
  /** To the second on RabbitMQ, to the millisecond elsewhere. */
  readonly publishedAt: Date;
  /** Which call of the handler this is, from 1, over all processes (S17). */
  readonly attempt: number;
}

export const newId: () => string = randomUUID;

/** What inbox and dedupe are unique on, beside group and topic (S12). */
export function identityOf(message: Pick<Incoming, 'id' | 'source' | 'dedupeKey'>): string | undefined {
  if (message.dedupeKey !== undefined) return `key:${message.dedupeKey}`;
  return message.id === undefined ? undefined : `id:${plain(message.source ?? '')}/${message.id}`;
}

/** Without a slash, so that source "a/b" with id "c" is not source "a" with id "b/c": an inbox would drop the second. */
const plain = (source: string): string => source.replaceAll('%', '%25').replaceAll('/', '%2F');

const MAX_HEADERS = 64;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_KEY_BYTES = 1024;
const HEADER_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing control characters is what it is for
const CONTROL = /[\u0000-\u001f\u007f]/;

function invalid(field: string, problem: string): never {
  throw new HoldfastError('invalid-message', `The message's ${field} ${problem}`, { details: { field } });
}

/** Refuses an id, dedupe key or source that some broker or database could not carry as it is. */
export function checkId(field: string, value: unknown): void {
  if (typeof value !== 'string') invalid(field, `must be a string, received ${typeof value}`);
  if (value.length === 0 || value.length > 128 || CONTROL.test(value) || !value.isWellFormed()) {
    invalid(field, `must be 1 to 128 printable characters, received ${value.length}`);
  }
}

export function checkKey(value: unknown): void {
  if (typeof value !== 'string') invalid('key', `must be a string, received ${value === null ? 'null' : typeof value}`);
  if (!value.isWellFormed() || value.includes('\0')) invalid('key', 'must be well-formed Unicode without NUL');
  if (Buffer.byteLength(value) > MAX_KEY_BYTES) invalid('key', `must be at most ${MAX_KEY_BYTES} bytes of UTF-8`);
}

/** Copies the headers, so that later changes by the caller have no effect. */
export function checkHeaders(headers: unknown): Headers {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers))
    invalid('headers', 'must be an object of strings');
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) invalid('headers', `must be at most ${MAX_HEADERS}, received ${entries.length}`);
  const copy: Record<string, string> = Object.create(null) as Record<string, string>;
  let bytes = 0;
  for (const [name, value] of entries) {
    if (!HEADER_NAME.test(name))
      invalid('headers', `have an illegal name of ${name.length} characters; use letters, digits, ".", "_" and "-"`);
    if (/^(hf-|x-|ce_|cloudevents[:_])/i.test(name))
      invalid('headers', `may not begin with a reserved prefix: "${name}"`);
    if (typeof value !== 'string')
      invalid('headers', `must be strings: "${name}" is ${value === null ? 'null' : typeof value}`);
    if (CONTROL.test(value) || !value.isWellFormed())
      invalid('headers', `must be well-formed text without control characters: "${name}"`);
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
    copy[name] = value;
  }
  if (bytes > MAX_HEADER_BYTES)
    invalid('headers', `must be at most ${MAX_HEADER_BYTES} bytes in all, received ${bytes}`);
  return copy;
}

export const noHeaders: Headers = Object.freeze(Object.create(null) as Record<string, string>);
