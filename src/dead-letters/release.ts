/** S27: the messages of a key that stands still go back to their group in their order, until none waits and the key is free. */

import { haltedKey, parkedName } from '../consume/halt.ts';
import { isHalts } from '../consume/options.ts';
import { HALTED } from '../consume/outcome.ts';
import { fromAdapter, isHoldfastError } from '../errors.ts';
import { checkKey, identityOf } from '../message.ts';
import { checkOptions, flag, positiveMs, signal as signalCheck } from '../options.ts';
import { pause } from '../pause.ts';
import type { Halt, HaltStore, StoredLetter } from '../port.ts';
import { asked, type LettersContext, nameOf, walk } from './walk.ts';

export interface ReleaseOptions {
  /** The store that the group's consumers keep their halted keys in. */
  readonly halts: HaltStore;
  /** How long nothing may move before it is given up. Longer than a message takes through its retries. @default 60_000 */
  readonly patienceMs?: number;
  /** A message that is next and nowhere to be found by then (its letter was discarded, or edited) is left out. @default false */
  readonly skipMissing?: boolean;
  readonly signal?: AbortSignal;
}
export interface Released {
  /**
   * `free`: nothing waits any more. `halted`: a message could not be handled again, and the key stands still as before.
   * `waiting`: nothing moved for `patienceMs`; what was sent back is still handled in its turn, and another call goes on.
   */
  readonly state: 'free' | 'halted' | 'waiting';
  /** Messages that went through meanwhile. */
  readonly handled: number;
  /** Messages that still wait. */
  readonly left: number;
}
/** A key that stands still, for people. A foreign key that is long or strange is shown by its hash. */
export interface StandingKey {
  readonly key: string;
  readonly haltedAt: Date;
  readonly releasing: boolean;
  /** Messages that wait. */
  readonly parked: number;
}

/** As many are looked for at once. */
const MOST = 1_000;
const LOOK_MS = { least: 20, most: 500 };
/** Without a move for so long, what was sent is looked for among the letters again: it may have come back. */
const AGAIN_MS = { least: 2_000, most: 30_000 };

export async function standingKeys(context: LettersContext, halts: HaltStore): Promise<readonly StandingKey[]> {
  checkOptions('halted', { halts }, { halts: isHalts }, { halts: 'halts: store.halts' });
  const { group, topic } = context;
  const found = await told(context, () => halts.list({ group, topic: topic.name }));
  return found.map(({ haltedAt, ...rest }) => ({ ...rest, haltedAt: new Date(haltedAt) }));
}

export async function release(context: LettersContext, key: string, options: ReleaseOptions): Promise<Released> {
  checkKey(key);
  const checks = { halts: isHalts, patienceMs: positiveMs, skipMissing: flag, signal: signalCheck };
  checkOptions('release', options, checks, { halts: 'halts: store.halts' });
  const { halts, patienceMs = 60_000, skipMissing = false, signal } = options;
  const { crashPoint } = context;
  const of = haltedKey({ group: context.group, topic: context.topic.name }, key);
  /** What this call has sent back and still waits. */
  const sent = new Set<string>();
  let handled = 0;
  let head: string | undefined;
  let last: readonly string[] = [];
  let left = 0;
  let movedAt = performance.now();
  let lookMs = LOOK_MS.least;
  let againMs = AGAIN_MS.least;
  let againAt = movedAt + againMs;

  function note(halt: Halt & { readonly messages: readonly string[] }): void {
    const waits = new Set(halt.messages);
    const through = last.filter((message) => !waits.has(message));
    for (const message of through) sent.delete(message);
    handled += through.length;
    last = halt.messages;
    left = halt.parked;
    if (halt.messages[0] === head && through.length === 0) return;
    head = halt.messages[0];
    movedAt = performance.now();
    lookMs = LOOK_MS.least;
    againMs = AGAIN_MS.least;
    againAt = movedAt + againMs;
  }

  await told(context, () => halts.release(of));
  await crashPoint?.('release:begun');
  for (;;) {
    signal?.throwIfAborted();
    const halt = await told(context, () => halts.parked(of, MOST));
    if (halt === undefined) break;
    note(halt);
    if (!halt.releasing) return { state: 'halted', handled, left };
    if (halt.messages.some((message) => !sent.has(message)))
      await sendBack(context, { key, order: last, sent, signal });
    const now = performance.now();
    if (now >= againAt) {
      sent.clear();
      againMs = Math.min(againMs * 2, AGAIN_MS.most);
      againAt = now + againMs;
    }
    if (now - movedAt >= patienceMs) {
      const missing = skipMissing && head !== undefined && !(await isThere(context, key, head, signal));
      if (!missing) return { state: 'waiting', handled, left };
      await told(context, () => halts.through(of, head!));
      movedAt = now;
    }
    await pause(lookMs, signal);
    lookMs = Math.min(lookMs * 2, LOOK_MS.most);
  }
  handled += last.length;
  // Copies that a crash has left behind: the consumers know best what they are.
  for await (const page of letters(context, key, signal))
    await asked(context, 'move', () => context.store.replay(page, {}));
  return { state: 'free', handled, left: 0 };
}

interface Wanted {
  readonly key: string;
  /** Names of those that wait, in order. */
  readonly order: readonly string[];
  /** Those of them that are on their way. */
  readonly sent: Set<string>;
  readonly signal: AbortSignal | undefined;
}

const letters = (context: LettersContext, key: string, signal: AbortSignal | undefined) =>
  walk(context, { where: { key, reason: HALTED }, ...(signal !== undefined && { signal }) });

/** Sends back, in order, what is there; not what stands behind one that is not. */
async function sendBack(context: LettersContext, { key, order, sent, signal }: Wanted): Promise<void> {
  const wanted = new Set(order);
  const found = new Map<string, StoredLetter>();
  let at = 0;
  const next = (): string | undefined => {
    while (at < order.length && sent.has(order[at]!)) at += 1;
    return order[at];
  };
  try {
    for await (const page of letters(context, key, signal)) {
      for (const letter of page) {
        const name = nameOfLetter(letter);
        if (name !== undefined && wanted.has(name) && !found.has(name)) found.set(name, letter);
      }
      const batch: StoredLetter[] = [];
      for (let name = next(); name !== undefined && found.has(name); name = next()) {
        batch.push(found.get(name)!);
        sent.add(name);
      }
      if (batch.length > 0) {
        await context.crashPoint?.('release:moving');
        await asked(context, 'move', () => context.store.replay(batch, {}));
        await context.crashPoint?.('release:moved');
      }
      if (next() === undefined) return;
    }
  } catch (error) {
    // Somebody else reads the letters just now.
    if (!(isHoldfastError(error) && error.code === 'busy')) throw error;
  }
}

async function isThere(
  context: LettersContext,
  key: string,
  name: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  for await (const page of letters(context, key, signal)) {
    if (page.some((letter) => nameOfLetter(letter) === name)) return true;
  }
  return false;
}

/** As its consumer named it; what came without an id was known by where it stood. */
function nameOfLetter({ message }: StoredLetter): string | undefined {
  const { origin } = message.marks;
  const identity = identityOf(message) ?? (origin === undefined ? undefined : identityOf({ ...message, id: origin }));
  return identity === undefined ? undefined : parkedName(identity);
}

async function told<T>(context: LettersContext, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw fromAdapter(error, `read or change the halted keys of ${nameOf(context)}`);
  }
}
