/** What the core writes on internal copies, and reads back: attempts and failures. Adapters carry marks unread. */

import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { messageOf, redact } from '../errors.ts';
import type { Delivery, Headers, Incoming } from '../port.ts';
import { printable } from '../printable.ts';

/** How often the message was handled so far, and since when it fails. */
export interface Progress {
  readonly attempts: number;
  readonly firstFailedAt: number | undefined;
  /** It was being handled when a process died. */
  readonly suspect?: boolean;
  /** The delivery that it is about: what its marks say of the replay it came by stays on its copies. */
  readonly delivery?: { readonly message: Pick<Incoming, 'marks'> };
}

/** On what a replay sent, its copies and the letter it may become again: the run of that replay. */
export const REPLAY_MARK = 'replay';

function replayMark(marks: Headers | undefined): Headers | undefined {
  const run = marks?.[REPLAY_MARK];
  return run === undefined ? undefined : { [REPLAY_MARK]: run };
}

export function readProgress(marks: Headers): Progress {
  return { attempts: whole(marks.attempts) ?? 0, firstFailedAt: whole(marks['first-failed']) };
}

/** `begun`: the last of its attempts was counted ahead, by a copy that was still to be handled. */
export function readSuspicion(marks: Headers): { readonly suspect: boolean; readonly begun: boolean } {
  return { suspect: marks.suspect === '1', begun: marks.begun === '1' };
}

function whole(text: string | undefined): number | undefined {
  const value = Number(text);
  return text !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** Marks of a copy that is tried again later. */
export function retryMarks(progress: Progress, now: number): Headers {
  return {
    attempts: String(progress.attempts),
    'first-failed': String(progress.firstFailedAt ?? now),
    ...(progress.suspect === true && { suspect: '1' }),
    ...replayMark(progress.delivery?.message.marks),
  };
}

/** Marks that count a suspect's next call before it begins. */
export function begunMarks(progress: Progress, now: number): Headers {
  return { ...retryMarks({ ...progress, attempts: progress.attempts + 1 }, now), begun: '1' };
}

/** Why a message is dead, and all that helps to find out what to do about it (G7). */
export interface Failure extends Omit<Progress, 'delivery'> {
  readonly reason: string;
  readonly error: unknown;
  readonly group: string;
}

const ERROR_BYTES = 4_096;

/** Marks of a dead letter. Texts are cut, on one line and without passwords; the payload is never repeated. */
export function deadMarks(failure: Failure, delivery: Delivery, now: number): Headers {
  const marks: Record<string, string> = {
    reason: printable(redact(failure.reason), 256),
    attempts: String(failure.attempts),
    'first-failed': String(failure.firstFailedAt ?? now),
    'dead-at': String(now),
    origin: delivery.position,
    group: failure.group,
    host: hostname(),
    ...replayMark(delivery.message.marks),
  };
  if (failure.error !== undefined) {
    marks.error = printable(redact(errorText(failure.error)), ERROR_BYTES);
    marks.fingerprint = fingerprint(failure.error);
  }
  return marks;
}

function errorText(error: unknown): string {
  const name = nameOf(error);
  return name === undefined ? messageOf(error) : `${name}: ${messageOf(error)}`;
}

/** An error's class; undefined for what is none. Like all that handlers throw, its properties may throw themselves. */
function nameOf(error: unknown): string | undefined {
  try {
    return error instanceof Error ? String(error.name) : undefined;
  } catch {
    return undefined;
  }
}

function frameOf(error: unknown): string {
  try {
    // Not \s: a text of many lines would be searched once for each of them.
    return error instanceof Error ? (/^[ \t]{1,16}at .*$/m.exec(String(error.stack))?.[0].trim() ?? '') : '';
  } catch {
    return '';
  }
}

/** Same error class thrown from the same line ⇒ same fingerprint: dead letters are grouped by it. */
function fingerprint(error: unknown): string {
  return createHash('sha256')
    .update(`${nameOf(error) ?? typeof error}\n${frameOf(error)}`)
    .digest('hex')
    .slice(0, 16);
}
