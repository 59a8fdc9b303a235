/**
 * Every error that holdfast throws: one class, one table. What a code means, whether trying again may help and what
 * became of the message are all derived from the table.
 */

import { printable } from './printable.ts';

interface CodeMeaning {
  readonly retryable: boolean;
  readonly outcome: PublishFailure | undefined;
}

const CODES = {
  'schema-mismatch': { retryable: false, outcome: 'not-sent' },
  'not-encodable': { retryable: false, outcome: 'not-sent' },
  'invalid-message': { retryable: false, outcome: 'not-sent' },
  'message-too-large': { retryable: false, outcome: 'not-sent' },
  unroutable: { retryable: false, outcome: 'not-sent' },
  'publish-rejected': { retryable: false, outcome: 'not-sent' },
  'publish-timeout': { retryable: true, outcome: 'not-sent' },
  'publish-unknown': { retryable: true, outcome: 'unknown' },
  'publish-aborted': { retryable: false, outcome: 'not-sent' },
  'circuit-open': { retryable: true, outcome: 'not-sent' },
  'client-closed': { retryable: false, outcome: 'not-sent' },
  'spill-full': { retryable: true, outcome: 'not-sent' },
  'spill-failed': { retryable: true, outcome: 'not-sent' },
  'broker-unreachable': { retryable: true, outcome: undefined },
  'access-refused': { retryable: false, outcome: undefined },
  'missing-peer': { retryable: false, outcome: undefined },
  'topology-conflict': { retryable: false, outcome: undefined },
  'topology-missing': { retryable: false, outcome: undefined },
  'invalid-option': { retryable: false, outcome: undefined },
  unsupported: { retryable: false, outcome: undefined },
  busy: { retryable: true, outcome: undefined },
  'group-mismatch': { retryable: false, outcome: undefined },
  'handler-timeout': { retryable: true, outcome: undefined },
  'handler-aborted': { retryable: true, outcome: undefined },
  undecodable: { retryable: false, outcome: undefined },
  'config-invalid': { retryable: false, outcome: undefined },
  'adapter-failed': { retryable: true, outcome: undefined },
} as const;

/** What became of a message whose publish failed: surely not stored, or possibly stored. */
export type PublishFailure = 'not-sent' | 'unknown';
export type ErrorCode = keyof typeof CODES;

/** The codes with their meaning, for documentation and tests. */
export const errorCodes: Readonly<Record<ErrorCode, CodeMeaning>> = CODES;

const BRAND: symbol = Symbol.for('holdfast.error');

export interface HoldfastErrorOptions {
  readonly cause?: unknown;
  /** Facts for programs: names, limits, counts. Never payloads or secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Where it differs from the code's own, e.g. an abort after the message was handed to the broker. */
  readonly outcome?: PublishFailure;
}

/**
 * The one error class. `code` is stable; the message says what failed, on what, what was received and what to do.
 * `outcome` is set on failed publishes: `'unknown'` may have been stored, so repeat it only with the same id.
 */
export class HoldfastError extends Error {
  override readonly name: string = 'HoldfastError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly outcome: PublishFailure | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: HoldfastErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = CODES[code].retryable;
    this.outcome = options.outcome ?? CODES[code].outcome;
    this.details = options.details ?? {};
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether this is a HoldfastError, also one of another copy of the package. */
export function isHoldfastError(error: unknown): error is HoldfastError {
  return typeof error === 'object' && error !== null && (error as { [key: symbol]: unknown })[BRAND] === true;
}

/** Thrown by a handler: no more attempts, straight to the dead letters with this reason. */
export class DeadLetter extends Error {
  override readonly name: string = 'DeadLetter';
  readonly reason: string;
  constructor(reason: string, options?: { readonly cause?: unknown }) {
    super(reason, options);
    // Plain JavaScript may say nothing here, and a dead letter needs a reason.
    this.reason = typeof reason === 'string' && reason !== '' ? reason : 'failed';
  }
}

/** Thrown by a handler: try again after `delayMs`. Counts as an attempt, so it cannot go on for ever. */
export class RetryLater extends Error {
  override readonly name: string = 'RetryLater';
  readonly delayMs: number;
  constructor(delayMs: number, options?: { readonly cause?: unknown }) {
    super(`retry in ${delayMs} ms`, options);
    if (!Number.isFinite(delayMs) || delayMs < 0) {
      throw new TypeError(`RetryLater needs a delay in milliseconds of 0 or more, received ${String(delayMs)}`);
    }
    this.delayMs = delayMs;
  }
}

/** An adapter's failure as a HoldfastError, once; `doing` says what was being done ("connect to rabbitmq"). */
export function fromAdapter(error: unknown, doing: string): HoldfastError {
  if (isHoldfastError(error)) return error;
  const code = (error as { adapterCode?: unknown } | null)?.adapterCode;
  const known = typeof code === 'string' && Object.hasOwn(CODES, code) ? (code as ErrorCode) : 'adapter-failed';
  return new HoldfastError(known, `Could not ${doing}: ${textOf(error)}`, { cause: error });
}

/** The text of anything that was thrown. Never throws itself. */
export function messageOf(error: unknown): string {
  try {
    if (error instanceof Error) return String(error.message || error.name);
    if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message);
    return String(error);
  } catch {
    return 'something that has no text was thrown';
  }
}

const TEXT_BYTES = 4_096;

/** The text of anything that was thrown, fit for logs and dead letters: without secrets, on one line, cut to 4 KiB. */
export function textOf(error: unknown): string {
  return printable(redact(messageOf(error)), TEXT_BYTES);
}

/** Schemes whose addresses have paths in which an @ is nothing special. */
const WEB = /(?:https?|wss?|file|npm)$/i;
const SECRET_NAMES = 'password|passwd|pwd|passphrase|secret|token|authorization|api[-_]?key|access[-_]?key';
const ASSIGNED = new RegExp(`\\b(${SECRET_NAMES})=("[^"]*"|'[^']*'|[^\\s&;,]+)`, 'gi');
const QUOTED = new RegExp(`"(${SECRET_NAMES})":"(?:[^"\\\\]|\\\\.)*"`, 'gi');

/**
 * Takes out of a text what may be secret: user and password of every URL, and what is assigned to names like `password`
 * (`password=…`, `"password":"…"`). Takes time in proportion to the text, whatever it holds.
 */
export function redact(text: string): string {
  const bare = text.includes('://') ? text.split(/(\s+)/).map(withoutLogins).join('') : text;
  return bare.replace(ASSIGNED, '$1=***').replace(QUOTED, '"$1":"***"');
}

/** Of one word. A password may hold a slash, an @ or a :// that nobody has escaped: up to the last @ nothing is shown. */
function withoutLogins(word: string): string {
  const [first = '', ...rest] = word.split('://');
  let before = first;
  let shown = first;
  for (const [index, part] of rest.entries()) {
    const web = WEB.test(before.slice(-8));
    const whole = web ? part : rest.slice(index).join('://');
    const end = web ? part.indexOf('/') : -1;
    const at = whole.slice(0, end === -1 ? undefined : end).lastIndexOf('@');
    shown += `://${at === -1 ? whole : `***${whole.slice(at)}`}`;
    if (!web) return shown;
    before = part;
  }
  return shown;
}
