/** A group's dead letters: list, count, replay, discard. */

import { fromAdapter } from './errors.ts';
import { identityOf } from './message.ts';
import { type Check, checkOptions, flag, object, positive, signal, text } from './options.ts';
import { rateLimit } from './policy/rate.ts';
import type { DeadLetterStore, Headers, Inbox, Priority, SettleOutcome, StoredLetter } from './port.ts';

export interface Letter {
  readonly id: string;
  /** `failed`, `timeout`, `crashed`, `expired`, `undecodable`, `schema-mismatch`, `no-id`, or what a handler's DeadLetter said. */
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
  /** The group's inbox: adds to the result how many of the letters it knows as handled, and will not have handled again. */
  readonly inbox?: Pick<Inbox<unknown>, 'seen'>;
}
export interface Replayed {
  readonly replayed: number;
  /** Of those: handled before, so their replay is dropped as a repeat. Only with `inbox`. */
  readonly alreadyHandled?: number;
}

export interface DeadLetters {
  /** Oldest first. On RabbitMQ the letters are held while you iterate, and nobody else can list meanwhile (`busy`). */
  list(filter?: LetterFilter): AsyncIterable<Letter>;
  count(filter?: LetterFilter): Promise<number>;
  /** Sends letters to their own group again, with id, key, headers and bytes as they were and attempts from 0. Interrupted anywhere, none is lost. */
  replay(options?: ReplayOptions): Promise<Replayed>;
  /** Removes letters for good. Needs a filter, so that nothing is emptied by a slip. */
  discard(filter: LetterFilter): Promise<{ readonly discarded: number }>;
}

const PAGE = 100;
const NONE: ReadonlySet<StoredLetter> = new Set();
const ids: Check = (value) =>
  Array.isArray(value) && value.every((id) => typeof id === 'string') ? undefined : 'must be an array of ids';
const FILTER_CHECKS: Readonly<Record<keyof LetterFilter, Check>> = { where: object, signal };

function checkFilter(what: string, filter: LetterFilter, more: Readonly<Record<string, Check>> = {}): void {
  checkOptions(what, filter, { ...FILTER_CHECKS, ...more });
  if (filter.where !== undefined) checkOptions(`${what}.where`, filter.where, { reason: text, ids, fingerprint: text });
}

const isInbox: Check = (value) =>
  typeof (value as Inbox<unknown> | null)?.seen === 'function' ? undefined : 'must be the inbox of a store';

/** Whose dead letters. */
export interface LettersOf {
  readonly topic: string;
  readonly group: string;
}

export function deadLettersOf(store: DeadLetterStore, { topic, group }: LettersOf): DeadLetters {
  const where = `group "${group}" of topic "${topic}"`;

  /** Which of the letters the inbox knows. One without an identity is never known. */
  async function known(
    page: readonly StoredLetter[],
    inbox: Pick<Inbox<unknown>, 'seen'>,
  ): Promise<ReadonlySet<StoredLetter>> {
    const claims = page.flatMap((letter) => {
      const identity = identityOf(letter.message);
      return identity === undefined ? [] : [{ letter, claim: { group, topic, identity } }];
    });
    try {
      const seen = await inbox.seen(claims.map(({ claim }) => claim));
      return new Set(claims.filter((_, index) => seen[index] === true).map(({ letter }) => letter));
    } catch (error) {
      throw fromAdapter(error, `ask the inbox about the dead letters of ${where}`);
    }
  }

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
      const { ratePerSecond, dryRun = false, inbox, ...filter } = options;
      checkFilter('replay', options, { ratePerSecond: positive, dryRun: flag, inbox: isInbox });
      const rate = rateLimit(ratePerSecond);
      let replayed = 0;
      let alreadyHandled = 0;
      for await (const page of matching(filter)) {
        const handled = inbox === undefined ? NONE : await known(page, inbox);
        const count = (letters: readonly StoredLetter[], outcomes: readonly SettleOutcome[]): void => {
          const sent = letters.filter((_, index) => outcomes[index] === 'settled');
          replayed += sent.length;
          alreadyHandled += sent.filter((letter) => handled.has(letter)).length;
        };
        if (dryRun)
          count(
            page,
            page.map(() => 'settled'),
          );
        else if (ratePerSecond === undefined) count(page, await moved(store.replay(page, {})));
        else {
          for (const letter of page) {
            // Also an abort that came while the last one was on its way.
            filter.signal?.throwIfAborted();
            for (let ms = rate.take(performance.now()); ms > 0; ms = rate.take(performance.now()))
              await pause(ms, filter.signal);
            count([letter], await moved(store.replay([letter], {})));
          }
        }
      }
      return inbox === undefined ? { replayed } : { replayed, alreadyHandled };
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
