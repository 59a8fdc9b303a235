import type { AdapterError } from '../../src/port.ts';

export function adapterError(
  adapterCode: AdapterError['adapterCode'],
  message: string,
  cause?: unknown,
): Error & AdapterError {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { adapterCode });
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Nothing was sent, and trying again may help. */
export function notSent(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { retriable: true });
}
