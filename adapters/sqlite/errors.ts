import type { AdapterError } from '../../src/port.ts';

/** Primary result codes (https://www.sqlite.org/rescode.html); the extended ones carry them in their low byte. */
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/** An error with a code of the port's, which the core turns into its own. */
export function adapterError(adapterCode: AdapterError['adapterCode'], message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { adapterCode });
}

/** Somebody else holds the lock: nothing was done, and waiting helps. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code === BUSY || code === LOCKED;
}

/** A lock that stays held, a full disk, an I/O error: what may pass by itself. */
export function isTransient(error: unknown): boolean {
  if ((error as { adapterCode?: unknown } | null)?.adapterCode === 'busy') return true;
  const code = resultCode(error);
  return code === BUSY || code === LOCKED || code === FULL || code === IOERR;
}

/** What to tell somebody whose file does not open. */
export function openError(path: string, error: unknown): unknown {
  switch (resultCode(error)) {
    case NOTADB:
      return adapterError(
        'invalid-option',
        `"${path}" is not an SQLite database: give another path, or move the file away`,
        error,
      );
    case READONLY:
      return adapterError(
        'access-refused',
        `"${path}" cannot be written: check the permissions of the file and its directory`,
        error,
      );
    case CANTOPEN:
      return adapterError(
        'broker-unreachable',
        `"${path}" cannot be opened: it must be a file in a directory that this process may read and write`,
        error,
      );
    default:
      return error;
  }
}

function resultCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}
