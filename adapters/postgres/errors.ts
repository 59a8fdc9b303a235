import type { Names } from './names.ts';

/** What is thrown when the server may or may not have committed: nothing but the data itself can tell. */
export interface CommitOutcomeUnknown extends Error {
  readonly outcome: 'unknown';
}

export function commitOutcomeUnknown(cause: unknown): CommitOutcomeUnknown {
  const message = 'The reply to COMMIT was lost: the transaction may or may not have been committed.';
  return Object.assign(new Error(message, { cause }), { outcome: 'unknown' as const });
}

/** PostgreSQL answers COMMIT with ROLLBACK, and no error, when a statement before it had failed. */
export function commitRefused(): Error {
  return new Error(
    'The transaction was rolled back at COMMIT: one of its statements had failed and the error was caught. ' +
      'Let errors of statements reach the end of the transaction, or wrap what may fail in a savepoint.',
  );
}

/** As the call; but says what to do when the store's tables are missing or older than this code. */
export async function explaining<T>({ schema }: Names, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const code = sqlState(error);
    // undefined_table, invalid_schema_name; undefined_column: the tables of an older version.
    if (code !== '42P01' && code !== '3F000' && code !== '42703') throw error;
    const message = `The store's tables in schema "${schema}" are missing or outdated: call store.migrate() first.`;
    throw new Error(message, { cause: error });
  }
}

/** The five characters that say what the server refused; undefined where the error is not the server's. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('severity' in error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Whether the connection was lost under a statement, so that nobody knows what became of it. */
export function isConnectionLoss(error: unknown): boolean {
  const code = sqlState(error);
  return code === undefined || code.startsWith('08') || code.startsWith('57P');
}
