import type { AdapterError } from '../../src/port.ts';

export type CodedError = Error & AdapterError;

/** An error that the core turns into one of its own, by `adapterCode`. */
export function adapterError(adapterCode: AdapterError['adapterCode'], message: string, cause?: unknown): CodedError {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { adapterCode });
}

export function isCoded(error: unknown): error is CodedError {
  return error instanceof Error && 'adapterCode' in error;
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The AMQP reply code that closed a channel or connection, if that is what this error is about. */
export function replyCode(error: unknown): number | undefined {
  const code = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined;
  return typeof code === 'number' ? code : undefined;
}

/** A queue or exchange that is not there. */
export const isNotFound = (error: unknown): boolean => replyCode(error) === 404;

const TRANSIENT_CODES: ReadonlySet<unknown> = new Set([
  'broker-unreachable',
  'busy',
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  320, // connection forced: an operator, or a node going down
  404, // an exchange or queue is gone: it is declared again
  405, // locked, or its leader is elsewhere for now
  506, // resource error
  541, // internal error: a node or vhost that is still starting
]);

// What amqplib says without a code: lost sockets, closed channels, nacks.
const TRANSIENT_TEXT =
  /closed|closing|ended|heartbeat|unexpected close|abruptly|etimedout|nacked|no reply|delivery acknowledgement/i;

/** Whether trying again may help. Not: a refused login or permission, an unknown vhost, a precondition that failed. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, adapterCode } = error as Error & { code?: unknown; adapterCode?: unknown };
  if (adapterCode !== undefined) return TRANSIENT_CODES.has(adapterCode);
  if (TRANSIENT_CODES.has(code)) return !/vhost '?[^']*'? not found|no vhost/i.test(error.message);
  if (/ACCESS.REFUSED|NOT.ALLOWED/.test(error.message)) return false;
  // A consumer that held a delivery for too long: the channel comes back.
  if (code === 406) return /delivery acknowledgement/i.test(error.message);
  if (typeof code === 'number' || error instanceof TypeError || error instanceof RangeError) return false;
  return TRANSIENT_TEXT.test(error.message);
}

/** What `connect` reports: the reason in the terms of the port, the client's error as cause. */
export function connectError(error: unknown, node: string): CodedError {
  const { message } = asError(error);
  if (/ACCESS.REFUSED|403/.test(message)) {
    return adapterError('access-refused', `RabbitMQ at ${node} refused the login: check username and password`, error);
  }
  // amqplib does not show the reason of a close that answers connection.open, and only a vhost can be its reason.
  if (/ConnectionOpenOk/.test(message)) {
    return adapterError(
      'access-refused',
      `RabbitMQ at ${node} refused the vhost: it does not exist, or the user has no access to it`,
      error,
    );
  }
  return adapterError('broker-unreachable', `RabbitMQ at ${node} cannot be reached: ${message}`, error);
}
