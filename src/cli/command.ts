export interface Command {
  readonly summary: string;
  readonly usage: string;
  /** Returns the exit code. */
  run(args: readonly string[]): Promise<number>;
}

/** The command was called wrongly: exit code 2, with its usage. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}
