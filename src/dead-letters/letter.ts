import type { Headers, Priority, StoredLetter } from '../port.ts';

/** What is known of a message that was given up. */
export interface Letter {
  /** The message's; where it has none, the letter's own. */
  readonly id: string;
  readonly topic: string;
  readonly group: string;
  /** `halted`, `failed`, `timeout`, `crashed`, `expired`, `undecodable`, `message-too-large`, `schema-mismatch`, `no-id`, or what a handler's DeadLetter said. */
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
  /** The failure that made it a dead letter, by its consumer's clock. */
  readonly lastFailedAt: Date | undefined;
  readonly deadAt: Date;
  /** Where it stood on the broker. */
  readonly origin: string | undefined;
  readonly host: string | undefined;
  /** Its place, for `list({ after })`, also in another process. */
  readonly cursor: string;
}

/** Whose dead letters. */
export interface LettersOf {
  readonly topic: string;
  readonly group: string;
}

export function letterOf(stored: StoredLetter, { topic, group }: LettersOf): Letter {
  const { message, lane } = stored;
  const { marks } = message;
  return {
    id: letterName(stored),
    topic,
    group,
    reason: reasonOf(stored),
    attempts: attemptsOf(stored),
    body: message.body,
    headers: message.headers,
    key: message.key,
    priority: lane,
    error: marks.error,
    fingerprint: marks.fingerprint,
    firstFailedAt: dateOf(marks['first-failed']),
    lastFailedAt: dateOf(marks['dead-at']),
    deadAt: new Date(deadTimeOf(stored) ?? Date.now()),
    origin: marks.origin,
    host: marks.host,
    cursor: stored.place,
  };
}

/** A message without an id is known by its letter's. */
export const letterName = ({ message, letterId }: StoredLetter): string => message.id ?? letterId;

export const reasonOf = ({ message }: StoredLetter): string => message.marks.reason ?? 'unknown';

/** What another tool wrote need not be a number. */
export function attemptsOf({ message }: StoredLetter): number {
  const attempts = Number(message.marks.attempts);
  return Number.isSafeInteger(attempts) ? attempts : 0;
}

/** Epoch milliseconds, by the consumer's clock, else the broker's; undefined where nobody says (letters of other tools). */
export function deadTimeOf({ message, deadAt }: StoredLetter): number | undefined {
  return dateOf(message.marks['dead-at'])?.getTime() ?? deadAt;
}

function dateOf(mark: string | undefined): Date | undefined {
  const date = new Date(mark === undefined ? Number.NaN : Number(mark));
  return Number.isNaN(date.getTime()) ? undefined : date;
}
