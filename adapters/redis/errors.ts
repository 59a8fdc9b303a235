import type { AdapterError } from '../../src/port.ts';

/** Replies and conditions that pass by themselves: trying again may help. */
const passing = [
  'LOADING',
  'READONLY',
  'CLUSTERDOWN',
  'OOM',
  'MASTERDOWN',
  'NOREPLICAS',
  'MISCONF',
  'BUSY',
  'TRYAGAIN',
  'UNBLOCKED',
  'ERR max number of clients reached',
];
const refusals = ['WRONGPASS', 'NOAUTH', 'NOPERM', 'ERR invalid password', 'ERR AUTH'];
const socketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
const clientMessages = [
  'Connection is closed',
  "Stream isn't writeable",
  'Command timed out',
  'Socket timeout',
  'Command aborted',
];

export function adapterError(
  adapterCode: AdapterError['adapterCode'],
  message: string,
  cause?: unknown,
): Error & AdapterError {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause: plain(cause) }), { adapterCode });
}

/** Thrown before anything was written to a socket: what it was meant for is surely not stored. */
export function notConnected(): Error {
  return Object.assign(new Error('not connected to Redis'), { code: 'NOT_CONNECTED' });
}

/** The durability that was asked for was not reached in time; the write itself is in the server's memory. */
export function notDurable(detail: string): Error {
  return Object.assign(new Error(detail), { code: 'NOT_DURABLE' });
}

export const isNotDurable = (error: unknown): boolean => codeOf(error) === 'NOT_DURABLE';

/** A copy without the command's arguments, which ioredis attaches: they hold passwords and bodies. */
export function plain(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const copy = new Error(error.message.replace(/\/\/[^/@\s]*@/g, '//'));
  copy.name = error.name;
  const { code, adapterCode } = error as { code?: unknown; adapterCode?: unknown };
  if (typeof code === 'string') Object.assign(copy, { code });
  if (typeof adapterCode === 'string') Object.assign(copy, { adapterCode });
  return copy;
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code;

/** Whether trying again may help; see `BrokerAdapter.isTransient`. */
export function isTransient(error: unknown): boolean {
  const adapterCode = (error as Partial<AdapterError> | null)?.adapterCode;
  if (adapterCode !== undefined) return adapterCode === 'broker-unreachable' || adapterCode === 'busy';
  const code = codeOf(error);
  if (code === 'NOT_CONNECTED' || code === 'NOT_DURABLE') return true;
  if (typeof code === 'string' && socketCodes.has(code)) return true;
  const message = messageOf(error);
  return startsWithAny(message, passing) || startsWithAny(message, clientMessages);
}

export const isRefusal = (error: unknown): boolean => startsWithAny(messageOf(error), refusals);

/** The server answered: nothing was lost on the way, and its answer is an error. */
export const isReply = (error: unknown): boolean => error instanceof Error && error.name === 'ReplyError';

/**
 * After these the connection is of no use: it is dead, or leads to a server that no longer takes writes
 * (after a failover only a new connection finds the new primary).
 */
export function spoilsConnection(error: unknown): boolean {
  return startsWithAny(messageOf(error), ['Command timed out', 'READONLY', 'MASTERDOWN']);
}

/** Refused before it was written to the socket. */
export function neverSent(error: unknown): boolean {
  return codeOf(error) === 'NOT_CONNECTED' || messageOf(error).startsWith("Stream isn't writeable");
}

const startsWithAny = (text: string, starts: readonly string[]): boolean =>
  starts.some((start) => text.startsWith(start));
