/** How long publishers and handlers try, which the processes go by and the checker holds them to. */

export const PUBLISH_TIMEOUT_MS = 8_000;

/** Patient enough for a database that is away for half a minute, and short where a message is to die. */
export const DELAYS: readonly number[] = [250, 1_000, 2_000, 5_000, 5_000, 10_000, 10_000, 10_000];
export const IMMEDIATE = { retries: 1, firstMs: 20 } as const;
/** Of short runs, whose database stays up. */
export const SHORT_DELAYS: readonly number[] = [250, 500, 1_000, 2_000];
export const attemptsOf = (delays: readonly number[]): number => (1 + IMMEDIATE.retries) * (1 + delays.length);
