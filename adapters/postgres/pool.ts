/** What a query answers, as far as the store reads it. */
export interface PgResult<Row> {
  readonly rows: Row[];
  readonly rowCount?: number | null;
  /** The command's tag: a COMMIT of a failed transaction is answered `ROLLBACK`. */
  readonly command?: string;
}

/**
 * A transaction of the caller's: anything with `query(text, values)`. A client of package `pg` is one, and so is a thin
 * wrapper around the transaction of a query builder.
 */
export interface PgTransaction {
  query<Row = Record<string, unknown>>(text: string, values?: unknown[]): Promise<PgResult<Row>>;
}

/** A connection checked out of the pool. */
export interface PgClient extends PgTransaction {
  /** Back to the pool; `true` closes the connection instead. */
  release(destroy?: boolean): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  removeListener(event: 'error', listener: (error: Error) => void): unknown;
}

/** A `Pool` of package `pg`, or anything of its shape. It stays the caller's: the store never ends it. */
export interface PgPool extends PgTransaction {
  connect(): Promise<PgClient>;
  readonly options?: { readonly max?: number | undefined };
  on?(event: 'error', listener: (error: Error) => void): unknown;
  removeListener?(event: 'error', listener: (error: Error) => void): unknown;
}

/** Until the returned call, an idle connection that breaks does not end the process, as it would where nobody listens. */
export function outliveIdleErrors(pool: PgPool): () => void {
  const ignore = (): void => undefined; // The pool replaces what broke, and whoever uses it next hears of an outage.
  pool.on?.('error', ignore);
  return () => void pool.removeListener?.('error', ignore);
}

/** Connections of a pool that does not say: the default of package `pg`. */
const defaultPoolSize = 10;

export function poolSize(pool: PgPool): number {
  return pool.options?.max ?? defaultPoolSize;
}
