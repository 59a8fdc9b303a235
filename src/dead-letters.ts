/** A group's dead letters: list, count, replay, discard. */

import { fromAdapter } from './errors.ts';
import { type Check, checkOptions, flag, object, positive, signal, text } from './options.ts';
import { rateLimit } from './policy/rate.ts';
import type { DeadLetterStore, Headers, Priority, SettleOutcome, StoredLetter } from './port.ts';

export interface Letter {
  readonly id: string;
  /** `failed`, `timeout`, `expired`, `undecodable`, `schema-mismatch`, `no-id`, or what a handler's DeadLetter said. */
  readonly reason: string;
  /** Handler calls before it was given up. */
  readonly attempts: number;
  /** The original bytes. */
  readonly body: Uint8Array;
  readonly headers: Headers;
  readonly key: string | undefined;
  readonly priority: Priority;
  /** The last error's class and message, cut and without passwords. */
  readonly error: string | undefined;
  /** Same error class from the same line ⇒ same fingerprint. */
  readonly fingerprint: string | undefined;
  readonly firstFailedAt: Date | undefined;
  readonly deadAt: Date;
  /** Where it stood on the broker. */
  readonly origin: string | undefined;
  readonly host: string | undefined;
}
export interface LetterFilter {
  readonly where?: { readonly reason?: string; readonly ids?: readonly string[]; readonly fingerprint?: string };
  readonly signal?: AbortSignal;
}
export interface ReplayOptions extends LetterFilter {
  readonly ratePerSecond?: number;
  /** Counts what would be replayed, and replays nothing. @default false */
  readonly dryRun?: boolean;
}

export interface DeadLetters {
  /** Oldest first. On RabbitMQ the letters are held while you iterate, and nobody else can list meanwhile (`busy`). */
  list(filter?: LetterFilter): AsyncIterable<Letter>;
  count(filter?: LetterFilter): Promise<number>;
  /** Sends letters to their own group again, with id, key, headers and bytes as they were and attempts from 0. Interrupted anywhere, none is lost. */
  replay(options?: ReplayOptions): Promise<{ readonly replayed: number }>;
  /** Removes letters for good. Needs a filter, so that nothing is emptied by a slip. */
  discard(filter: LetterFilter): Promise<{ readonly discarded: number }>;
}

const PAGE = 100;
const ids: Check = (value) =>
  Array.isArray(value) && value.every((id) => typeof id === 'string') ? undefined : 'must be an array of ids';
const FILTER_CHECKS: Readonly<Record<keyof LetterFilter, Check>> = { where: object, signal };

function checkFilter(what: string, filter: LetterFilter, more: Readonly<Record<string, Check>> = {}): void {
  checkOptions(what, filter, { ...FILTER_CHECKS, ...more });
  if (filter.where !== undefined) checkOptions(`${what}.where`, filter.where, { reason: text, ids, fingerprint: text });
}

export function deadLettersOf(store: DeadLetterStore, where: string): DeadLetters {
  async function* matching(filter: LetterFilter): AsyncGenerator<readonly StoredLetter[]> {
    const wanted = filter.where?.ids === undefined ? undefined : new Set(filter.where.ids);
    try {
      for await (const page of store.scan({ pageSize: PAGE, signal: filter.signal })) {
        filter.signal?.throwIfAborted();
        const letters = page.filter((stored) => matches(stored, filter, wanted));
        if (letters.length > 0) yield letters;
      }
    } catch (error) {
      if (filter.signal?.aborted) throw filter.signal.reason;
      throw fromAdapter(error, `read the dead letters of ${where}`);
    }
  }

  const moved = (outcomes: Promise<readonly SettleOutcome[]>): Promise<readonly SettleOutcome[]> =>
    outcomes.catch((error: unknown) => {
      throw fromAdapter(error, `move dead letters of ${where}`);
    });

  return {
    async *list(filter = {}) {
      checkFilter('list', filter);
      for await (const page of matching(filter)) yield* page.map(letterOf);
    },
    async count(filter = {}) {
      checkFilter('count', filter);
      if (filter.where === undefined) {
        const exact = await store.count();
        if (exact !== undefined) return exact;
      }
      let total = 0;
      for await (const page of matching(filter)) total += page.length;
      return total;
    },
    async replay(options = {}) {
      const { ratePerSecond, dryRun = false, ...filter } = options;
      checkFilter('replay', options, { ratePerSecond: positive, dryRun: flag });
      const rate = rateLimit(ratePerSecond);
      let replayed = 0;
      for await (const page of matching(filter)) {
        if (dryRun) replayed += page.length;
        else if (ratePerSecond === undefined) replayed += settled(await moved(store.replay(page, {})));
        else {
          for (const letter of page) {
            // Also an abort that came while the last one was on its way.
            filter.signal?.throwIfAborted();
            for (let ms = rate.take(performance.now()); ms > 0; ms = rate.take(performance.now()))
              await pause(ms, filter.signal);
            replayed += settled(await moved(store.replay([letter], {})));
          }
        }
      }
      return { replayed };
    },
    async discard(filter) {
      checkFilter('discard', filter);
      if (filter.where === undefined)
        throw new TypeError('discard needs a filter: { where: { reason } } or { where: { ids } }');
      let discarded = 0;
      for await (const page of matching(filter)) discarded += settled(await moved(store.discard(page)));
      return { discarded };
    },
  };
}

function matches(stored: StoredLetter, { where }: LetterFilter, wanted: ReadonlySet<string> | undefined): boolean {
  const { marks, id } = stored.message;
  if (where?.reason !== undefined && marks.reason !== where.reason) return false;
  if (where?.fingerprint !== undefined && marks.fingerprint !== where.fingerprint) return false;
  return wanted === undefined || wanted.has(id ?? stored.letterId);
}

function letterOf({ letterId, message, lane, deadAt }: StoredLetter): Letter {
  const { marks } = message;
  const firstFailed = Number(marks['first-failed']);
  return {
    id: message.id ?? letterId,
    reason: marks.reason ?? 'unknown',
    attempts: Number(marks.attempts ?? 0),
    body: message.body,
    headers: message.headers,
    key: message.key,
    priority: lane,
    error: marks.error,
    fingerprint: marks.fingerprint,
    firstFailedAt: Number.isFinite(firstFailed) ? new Date(firstFailed) : undefined,
    deadAt: new Date(Number(marks['dead-at'] ?? deadAt ?? Date.now())),
    origin: marks.origin,
    host: marks.host,
  };
}

const settled = (outcomes: readonly SettleOutcome[]): number =>
  outcomes.filter((outcome) => outcome === 'settled').length;

/** Waits until the rate allows the next, or the signal aborts. */
async function pause(ms: number, until: AbortSignal | undefined): Promise<void> {
  if (ms <= 0) return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, ms);
    const abort = (): void => {
      clearTimeout(timer);
      reject(until?.reason);
    };
    function done(): void {
      until?.removeEventListener('abort', abort);
      resolve();
    }
    until?.addEventListener('abort', abort, { once: true });
  });
}
