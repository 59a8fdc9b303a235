/** S27: a key whose message could not be handled stands still, and its later messages wait behind it, until it is released. */

import { createHash, randomUUID } from 'node:crypto';
import type { Emitter } from '../events.ts';
import { withRetries } from '../policy/retry.ts';
import type { HaltedKey, HaltStore } from '../port.ts';
import type { Work } from './work.ts';

/** What the store says of a message of an ordered group. */
export type Entry = 'free' | 'next' | 'parked';

/** The halts of one consumer's group. Each call tries until the store answers; it rejects only when the consumer closes. */
export interface Halts {
  /** Whether its key stands still. Those who ask at once are answered by one read. */
  isHalted(work: Work): Promise<boolean>;
  /** Before it is handled. */
  enter(work: Work): Promise<Entry>;
  /** It could not be handled: from here on nothing of its key is, but by a release. */
  halt(work: Work): Promise<void>;
  /** It has been handled, and the next one may be. */
  through(work: Work): Promise<void>;
  /** It was not ours to halt. */
  withdraw(work: Work): Promise<void>;
}

const BACKOFF = { retries: Number.POSITIVE_INFINITY, firstMs: 100, factor: 2, maxMs: 5_000, jitter: true };
const MOST_KEYS = 500;
const MAX_KEY_BYTES = 1_024;

/** As it stands in the store, readable unless it is long or strange. */
export function haltedKey(of: Omit<HaltedKey, 'key'>, key: string): HaltedKey {
  const plain = key.isWellFormed() && !key.includes('\0') && Buffer.byteLength(key) <= MAX_KEY_BYTES;
  return { ...of, key: plain && !key.startsWith('sha256:') ? key : `sha256:${hash(key)}` };
}

/** A message's name in the store: short and plain, whatever its identity is. */
export const parkedName = (identity: string): string => hash(identity).slice(0, 22);

const hash = (text: string): string => createHash('sha256').update(JSON.stringify(text)).digest('base64url');

export function createHalts(
  store: HaltStore,
  of: Omit<HaltedKey, 'key'>,
  { emitter, closing }: { readonly emitter: Emitter; readonly closing: AbortSignal },
): Halts {
  let asked: {
    readonly key: string;
    readonly answer: (halted: boolean) => void;
    readonly fail: (e: unknown) => void;
  }[];
  asked = [];
  let asking = false;

  function insist<T>(call: () => Promise<T>): Promise<T> {
    const again = (error: unknown): boolean => {
      emitter.emit('error', { during: `halted keys of group "${of.group}"`, error });
      return !closing.aborted;
    };
    return withRetries(call, BACKOFF, again, closing);
  }

  async function ask(): Promise<void> {
    asking = true;
    // What is dispatched in one turn is asked for together.
    await Promise.resolve();
    while (asked.length > 0) {
      const batch = asked.slice(0, MOST_KEYS);
      asked = asked.slice(MOST_KEYS);
      const keys = [...new Set(batch.map(({ key }) => key))];
      try {
        const answers = await insist(() => store.halted(of, keys));
        const halted = new Set(keys.filter((_, index) => answers[index] === true));
        for (const { key, answer } of batch) answer(halted.has(key));
      } catch (error) {
        for (const { fail } of batch) fail(error);
      }
    }
    asking = false;
  }

  const keyOf = (work: Work): HaltedKey => haltedKey(of, work.delivery.message.key!);

  function isHalted(work: Work): Promise<boolean> {
    return new Promise((answer, fail) => {
      asked.push({ key: keyOf(work).key, answer, fail });
      if (!asking) void ask();
    });
  }

  return {
    isHalted,
    async enter(work) {
      const { parking } = work;
      if (!(await isHalted(work))) return 'free';
      parking!.token = randomUUID();
      return insist(() => store.admit(keyOf(work), parking!.name, parking!.token));
    },
    async halt(work) {
      const { parking } = work;
      parking!.token = randomUUID();
      await insist(() => store.halt(keyOf(work), parking!.name, parking!.token));
    },
    through: (work) => insist(() => store.through(keyOf(work), work.parking!.name)),
    withdraw: (work) => insist(() => store.withdraw(keyOf(work), work.parking!.name, work.parking!.token)),
  };
}
