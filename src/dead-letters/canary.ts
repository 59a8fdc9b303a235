import { isHoldfastError } from '../errors.ts';
import { checkOptions, count, func, positiveMs } from '../options.ts';
import { pause } from '../pause.ts';
import type { StoredLetter } from '../port.ts';
import { type Letter, letterOf } from './letter.ts';
import { type LettersContext, walk } from './walk.ts';

export interface CanaryOptions {
  /** So many letters go ahead of the others. @default 5 */
  readonly count?: number;
  /** How long they are watched. Longer than a message takes through its retries, or a failure is seen too late. @default 30_000 */
  readonly watchMs?: number;
  /**
   * Your own condition, asked at each look: true goes on at once, false halts, undefined watches on.
   * @default halts as soon as one is back
   */
  readonly check?: (seen: CanarySeen) => boolean | undefined | Promise<boolean | undefined>;
}
export interface CanarySeen {
  /** Under which they were sent: of edited letters, the new ids. */
  readonly ids: readonly string[];
  /** Those that are dead letters again. */
  readonly back: readonly Letter[];
  readonly elapsedMs: number;
}
export interface Halted {
  readonly reason: string;
  readonly back: readonly Letter[];
}

const DEFAULT_WATCH_MS = 30_000;
const LOOK_MS = { least: 20, most: 1_000 };
/** Where a look reads all letters, looking takes at most one part in so many of the time. */
const REST_PER_LOOK = 4;

export function checkCanary(canary: CanaryOptions): void {
  checkOptions('replay.canary', canary, { count: count(1), watchMs: positiveMs, check: func });
}

/** Looks again and again until it is decided; undefined means go on. The last look comes after `watchMs`. */
export async function watchCanary(
  context: LettersContext,
  { watchMs = DEFAULT_WATCH_MS, check }: CanaryOptions,
  sent: {
    readonly ids: readonly string[];
    readonly cameBack: (stored: StoredLetter) => boolean;
    readonly signal: AbortSignal | undefined;
  },
): Promise<Halted | undefined> {
  const { ids, signal } = sent;
  const names = { topic: context.topic.name, group: context.group };
  const back = new Map<string, Letter>();
  const began = performance.now();
  let seenTo: string | undefined;

  async function look(): Promise<void> {
    for await (const page of walk(context, signal === undefined ? {} : { signal }, seenTo)) {
      for (const stored of page) if (sent.cameBack(stored)) back.set(stored.letterId, letterOf(stored, names));
      // What comes back stands behind all that was there before.
      if (context.store.sorted) seenTo = page.at(-1)!.place;
    }
  }

  async function decision(last: boolean): Promise<Halted | undefined | 'watch'> {
    const letters = [...back.values()];
    const verdict = await check?.({ ids, back: letters, elapsedMs: performance.now() - began });
    if (verdict === true) return undefined;
    if (verdict === false) return { reason: 'the check of the canary said so', back: letters };
    if (letters.length > 0 && (check === undefined || last)) {
      const reasons = [...new Set(letters.map(({ reason }) => reason))].join(', ');
      return { reason: `${letters.length} of ${ids.length} came back as dead letters: ${reasons}`, back: letters };
    }
    return last ? undefined : 'watch';
  }

  for (let restMs = LOOK_MS.least; ; restMs = Math.min(restMs * 2, LOOK_MS.most)) {
    const lookedAt = performance.now();
    const last = lookedAt - began >= watchMs;
    try {
      await look();
    } catch (error) {
      // Somebody reads the letters just now; the last look must be a true one.
      if (last || !(isHoldfastError(error) && error.code === 'busy')) throw error;
    }
    const decided = await decision(last);
    if (decided !== 'watch') return decided;
    const rest = Math.max(restMs, (performance.now() - lookedAt) * REST_PER_LOOK);
    await pause(Math.max(1, Math.min(rest, began + watchMs - performance.now())), signal);
  }
}
