import { REPLAY_MARK } from '../consume/marks.ts';
import { fromAdapter } from '../errors.ts';
import { identityOf } from '../message.ts';
import { type Check, flag, func, object, positive } from '../options.ts';
import { rateLimit, taken } from '../policy/rate.ts';
import type { Inbox, Outgoing, SettleOutcome, StoredLetter } from '../port.ts';
import { type CanaryOptions, checkCanary, type Halted, watchCanary } from './canary.ts';
import { edited, type LetterEdit } from './edit.ts';
import { checkFilter, date, type LetterFilter } from './filter.ts';
import { deadTimeOf, type Letter, letterName, letterOf } from './letter.ts';
import { asked, type LettersContext, nameOf, walk } from './walk.ts';

export interface ReplayOptions<I = unknown> extends LetterFilter {
  readonly ratePerSecond?: number;
  /** Counts what would be replayed, checks the edits, and replays nothing. @default false */
  readonly dryRun?: boolean;
  /** The group's inbox: adds to the result how many of the letters it knows as handled, and will not have handled again. */
  readonly inbox?: Pick<Inbox<unknown>, 'seen'>;
  /** Sends a few, watches whether they come back as dead letters, and only then sends the others. */
  readonly canary?: CanaryOptions;
  /**
   * Asked for each letter, which it replaces by a message with an id and identity of its own, whose header `causation-id`
   * holds the old id. Undefined replays the letter as it was.
   */
  readonly edit?: (letter: Letter) => LetterEdit<I> | undefined | Promise<LetterEdit<I> | undefined>;
  /**
   * When the run began that this call goes on with: what died later is not its own, and what it has replayed before and
   * came back stays. Choose it, and keep it, before the first call. @default now: a run of this call alone
   */
  readonly startedAt?: Date;
}
export interface Replayed {
  readonly replayed: number;
  /** Of those: handled before, so their replay is dropped as a repeat. Only with `inbox`. */
  readonly alreadyHandled?: number;
  /** May or may not have been sent again, and are dead letters still. Only where there are any. */
  readonly unknown?: number;
  /** Why the others were not sent. Only after a canary that failed. */
  readonly halted?: Halted;
  /** Goes on with this run, after a halt or an interruption. Only with `canary` or `startedAt`. */
  readonly startedAt?: Date;
}

const NONE: ReadonlySet<StoredLetter> = new Set();

const isInbox: Check = (value) =>
  typeof (value as Inbox<unknown> | null)?.seen === 'function' ? undefined : 'must be the inbox of a store';
const CHECKS = { ratePerSecond: positive, dryRun: flag, inbox: isInbox, canary: object, edit: func, startedAt: date };

/** Letters back to where they failed. Each is in its group or among the dead letters at any moment, or in both. */
export async function replay(context: LettersContext, options: ReplayOptions = {}): Promise<Replayed> {
  checkFilter('replay', options, CHECKS);
  const { ratePerSecond, dryRun = false, inbox, canary, edit, startedAt, ...filter } = options;
  if (canary !== undefined) checkCanary(canary);
  const { crashPoint, store } = context;
  const { signal } = filter;
  const beganAt = startedAt ?? new Date();
  const marks = { [REPLAY_MARK]: String(beganAt.getTime()) };
  const names = { topic: context.topic.name, group: context.group };
  const rate = rateLimit(ratePerSecond);
  const doubtful = new Set<string>();
  let replayed = 0;
  let alreadyHandled = 0;

  /** What this run has replayed before is not replayed again: else a handler that always fails would make it endless. */
  function isOurs(stored: StoredLetter): boolean {
    if (stored.message.marks[REPLAY_MARK] === marks[REPLAY_MARK] || doubtful.has(stored.letterId)) return false;
    return startedAt === undefined || (deadTimeOf(stored) ?? 0) <= beganAt.getTime();
  }

  /** Answers the ids under which those that were sent, or may have been, would come back. */
  async function send(
    letters: readonly StoredLetter[],
    handled: ReadonlySet<StoredLetter>,
  ): Promise<readonly string[]> {
    const messages = new Map<StoredLetter, Outgoing>();
    for (const letter of edit === undefined ? [] : letters) {
      const change = await edit!(letterOf(letter, names));
      if (change !== undefined) messages.set(letter, await edited(context, letter, change));
    }
    const count = (sent: readonly StoredLetter[]): void => {
      replayed += sent.length;
      alreadyHandled += sent.filter((letter) => handled.has(letter) && !messages.has(letter)).length;
    };
    if (dryRun) {
      count(letters);
      return [];
    }
    const ids: string[] = [];
    for (const batch of ratePerSecond === undefined ? [letters] : letters.map((letter) => [letter])) {
      // Rejects also for an abort that came while the last one was on its way.
      await taken(rate, signal);
      await crashPoint?.('replay:moving');
      const outcomes = await move(batch, messages);
      const sent = batch.filter((letter) => outcomes.get(letter) === 'settled');
      for (const letter of batch) {
        const outcome = outcomes.get(letter);
        if (outcome !== 'stale') ids.push(messages.get(letter)?.id ?? letterName(letter));
        if (outcome === 'unknown') doubtful.add(letter.letterId);
      }
      count(sent);
      await crashPoint?.('replay:moved');
    }
    return ids;
  }

  async function move(
    letters: readonly StoredLetter[],
    messages: ReadonlyMap<StoredLetter, Outgoing>,
  ): Promise<ReadonlyMap<StoredLetter, SettleOutcome>> {
    const same = letters.filter((letter) => !messages.has(letter));
    const changed = letters.flatMap((letter) => {
      const message = messages.get(letter);
      return message === undefined ? [] : [{ letter, message, marks }];
    });
    const outcomes = new Map<StoredLetter, SettleOutcome>();
    const note = (each: readonly StoredLetter[], answers: readonly SettleOutcome[]): void => {
      for (const [index, letter] of each.entries()) outcomes.set(letter, answers[index] ?? 'unknown');
    };
    if (same.length > 0) note(same, await asked(context, 'move', () => store.replay(same, marks)));
    if (changed.length > 0) {
      await crashPoint?.('replay:edited');
      const answers = await asked(context, 'move', () => store.replace(changed));
      note(
        changed.map(({ letter }) => letter),
        answers,
      );
    }
    return outcomes;
  }

  /** Pages of this run's letters, and which of them the inbox knows. */
  async function* pages(): AsyncGenerator<readonly [readonly StoredLetter[], ReadonlySet<StoredLetter>]> {
    for await (const page of walk(context, filter)) {
      const letters = page.filter(isOurs);
      if (letters.length > 0) yield [letters, inbox === undefined ? NONE : await known(context, letters, inbox)];
    }
  }

  const result = (halted?: Halted): Replayed => ({
    replayed,
    ...(inbox !== undefined && { alreadyHandled }),
    ...(doubtful.size > 0 && { unknown: doubtful.size }),
    ...(halted !== undefined && { halted }),
    ...((canary !== undefined || startedAt !== undefined) && { startedAt: beganAt }),
  });

  if (canary !== undefined && !dryRun) {
    const most = canary.count ?? 5;
    const ids: string[] = [];
    for await (const [letters, handled] of pages()) {
      // What the inbox drops as a repeat proves nothing, unless it is edited.
      const telling = edit === undefined ? letters.filter((letter) => !handled.has(letter)) : letters;
      ids.push(...(await send(telling.slice(0, most - ids.length), handled)));
      if (ids.length >= most) break;
    }
    await crashPoint?.('replay:canary-sent');
    const cameBack = ({ message }: StoredLetter): boolean =>
      message.marks[REPLAY_MARK] === marks[REPLAY_MARK] && (message.id === undefined || ids.includes(message.id));
    const halted = ids.length === 0 ? undefined : await watchCanary(context, canary, { ids, cameBack, signal });
    if (halted !== undefined) return result(halted);
  }
  for await (const [letters, handled] of pages()) await send(letters, handled);
  return result();
}

/** Which of the letters the inbox knows. One without an identity is never known. */
async function known(
  context: LettersContext,
  page: readonly StoredLetter[],
  inbox: Pick<Inbox<unknown>, 'seen'>,
): Promise<ReadonlySet<StoredLetter>> {
  const { group, topic } = context;
  const claims = page.flatMap((letter) => {
    const identity = identityOf(letter.message);
    return identity === undefined ? [] : [{ letter, claim: { group, topic: topic.name, identity } }];
  });
  try {
    const seen = await inbox.seen(claims.map(({ claim }) => claim));
    return new Set(claims.filter((_, index) => seen[index] === true).map(({ letter }) => letter));
  } catch (error) {
    throw fromAdapter(error, `ask the inbox about the dead letters of ${nameOf(context)}`);
  }
}
