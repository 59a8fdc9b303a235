import { createHash, randomUUID } from 'node:crypto';
import { HoldfastError, isHoldfastError, textOf } from './errors.ts';
import { isPlainObject } from './options.ts';
import type { Headers, Incoming, Priority } from './port.ts';
import { isPrintable } from './printable.ts';

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
  /** The producer's. Of an edited replay, `causation-id` is the id of the dead letter that it was. */
  readonly headers: Headers;
  /** To the second on RabbitMQ, to the millisecond elsewhere. */
  readonly publishedAt: Date;
  /** Which call of the handler this is, from 1, over all processes (S17). */
  readonly attempt: number;
}

export const newId: () => string = randomUUID;

/** What inbox and dedupe are unique on, beside group and topic (S12). */
export function identityOf(message: Pick<Incoming, 'id' | 'source' | 'dedupeKey'>): string | undefined {
  if (message.dedupeKey !== undefined) return storable(`key:${message.dedupeKey}`);
  return message.id === undefined ? undefined : storable(`id:${plain(message.source ?? '')}/${message.id}`);
}

/** Foreign producers may call a message anything. What no index takes, or no text of a database, is known by its hash. */
function storable(identity: string): string {
  if (identity.length <= MAX_IDENTITY && !identity.includes('\0') && identity.isWellFormed()) return identity;
  return `sha256:${createHash('sha256').update(identity).digest('hex')}`;
}
/** Longer than any that holdfast itself makes: a source in escapes, and an id. */
const MAX_IDENTITY = 600;

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

/** Whether every broker and database carries it as it is, as an id or source: AMQP's short strings hold 255 bytes. */
export function isName(value: unknown): value is string {
  if (typeof value !== 'string' || value.length === 0 || value.length > 128) return false;
  return Buffer.byteLength(value) <= 255 && isPrintable(value);
}

/** Refuses an id or dedupe key that some broker or database could not carry. */
export function checkId(field: string, value: unknown): void {
  if (typeof value !== 'string') invalid(field, `must be a string, received ${typeof value}`);
  const { length } = value;
  if (!isName(value)) {
    invalid(field, `must be 1 to 128 printable characters of at most 255 bytes, received ${length} characters`);
  }
}

export function checkKey(value: unknown): void {
  if (typeof value !== 'string') invalid('key', `must be a string, received ${value === null ? 'null' : typeof value}`);
  if (!value.isWellFormed() || value.includes('\0')) invalid('key', 'must be well-formed Unicode without NUL');
  if (Buffer.byteLength(value) > MAX_KEY_BYTES) invalid('key', `must be at most ${MAX_KEY_BYTES} bytes of UTF-8`);
}

/** Copies the headers, so that later changes by the caller have no effect. */
export function checkHeaders(headers: unknown): Headers {
  if (!isPlainObject(headers)) invalid('headers', 'must be a plain object of strings');
  const entries = entriesOf(headers);
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

function entriesOf(headers: object): readonly [string, unknown][] {
  try {
    return Object.entries(headers);
  } catch (error) {
    if (isHoldfastError(error)) throw error;
    invalid('headers', `cannot be read: ${textOf(error)}`);
  }
}

export const noHeaders: Headers = Object.freeze(Object.create(null) as Record<string, string>);
