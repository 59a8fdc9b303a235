/** Primary result codes (https://www.sqlite.org/rescode.html); the extended ones carry them in their low byte. */
const ERROR = 1;
const BUSY = 5;
const LOCKED = 6;
const IOERR = 10;
/** What a transaction read is outdated since another connection has written: it can never write any more. */
const BUSY_SNAPSHOT = 517;

/** Somebody else holds the lock: nothing was done, and waiting helps. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code !== BUSY_SNAPSHOT && (code % 256 === BUSY || code % 256 === LOCKED);
}

/** After an I/O error in COMMIT nobody knows whether it took effect. */
export function commitError(error: unknown): unknown {
  if (resultCode(error) % 256 !== IOERR) return error;
  const message = 'COMMIT ended in an I/O error: the transaction may or may not have been committed.';
  return Object.assign(new Error(message, { cause: error }), { outcome: 'unknown' as const });
}

/** Says what to do where the error has a usual remedy; hands on every other error as it is. */
export function explained(error: unknown): unknown {
  const code = resultCode(error);
  const text = error instanceof Error ? error.message : '';
  if (code === ERROR && /no such (table|column).*holdfast_|holdfast_.*has no column/.test(text)) {
    return new Error("The store's tables are missing or outdated: call store.migrate() first.", { cause: error });
  }
  if (code === BUSY_SNAPSHOT) {
    const message =
      'Another connection has written since this transaction began to read: begin transactions that write with BEGIN IMMEDIATE.';
    return new Error(message, { cause: error });
  }
  return error;
}

function resultCode(error: unknown): number {
  const code = (error as { readonly errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code : -1;
}
