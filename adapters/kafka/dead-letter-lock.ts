import { randomUUID } from 'node:crypto';
import type { KafkaRecord } from './client.ts';
import type { Log } from './dead-letter-log.ts';
import { adapterError, notSent } from './errors.ts';

/*
 * Whoever moves dead letters holds a lock that is made of records among them, since Kafka has none: a key that begins with
 * `lock:` (no letter's does), repeated while it is held, and removed by a record without a value. Of several, the first in
 * the log has it. A lock that is not repeated for ten seconds, watched by whoever wants it, is a dead process's, and
 * removed; no clocks are compared. A process that was stopped for longer than seven looks again before it goes on.
 */

const PREFIX = 'lock:';
const REPEAT_MS = 2_000;
const DEAD_MS = 10_000;
const SURE_MS = 7_000;
const LOOK_MS = 200;
/** Older than this by any clock: nobody repeats it. */
const ABANDONED_MS = 600_000;

export const isLock = (key: string): boolean => key.startsWith(PREFIX);

export interface Lock {
  /** To be told each record in turn, from the beginning of the log, if somebody reads it anyway. */
  observe(record: KafkaRecord): void;
  /** Takes it, or makes sure that it is still held. Throws `busy` where somebody else has it. */
  hold(): Promise<void>;
  /** Whether the letter has been removed, as far as was read when the lock was taken. */
  isGone(letterId: string): boolean;
  release(): Promise<void>;
}

interface Held {
  /** Its first record's offset: the earlier one has the lock. */
  readonly first: number;
  records: number;
  seenAt: number;
  readonly stamp: number | undefined;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** `from` is where the log begins; `what` is locked, for people. */
export function openLock(log: Log, from: number, what: string): Lock {
  const locks = new Map<string, Held>();
  const gone = new Set<string>();
  let next = from;
  let own = '';
  let timer: NodeJS.Timeout | undefined;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let lost = false;

  function observe({ key, value, offset, timestamp }: KafkaRecord): void {
    next = offset + 1;
    const name = key?.toString();
    if (name === undefined) return;
    if (!isLock(name)) {
      if (value === null) gone.add(name);
      else gone.delete(name);
    } else if (value === null) {
      locks.delete(name);
      lost ||= name === own;
    } else {
      const known = locks.get(name);
      if (known === undefined)
        locks.set(name, { first: offset, records: 1, seenAt: performance.now(), stamp: timestamp });
      else {
        known.records += 1;
        known.seenAt = performance.now();
      }
    }
  }

  async function readOn(): Promise<void> {
    for await (const record of log.read({ from: next, to: (await log.span()).to })) observe(record);
  }

  async function write(name: string, value: Buffer | null): Promise<boolean> {
    const [stored] = await log.append([{ key: name, value, headers: {} }]);
    return stored === true;
  }

  async function repeat(): Promise<void> {
    const at = performance.now();
    if (await write(own, Buffer.from(new Date().toISOString()))) confirmedAt = at;
  }

  const busy = (): Error => adapterError('busy', `somebody else moves the dead letters of ${what}`);

  async function take(): Promise<void> {
    own = PREFIX + randomUUID();
    lost = false;
    await repeat();
    if (confirmedAt === Number.NEGATIVE_INFINITY) throw notSent(`the lock of ${what} could not be written`);
    timer = setInterval(() => void repeat(), REPEAT_MS);
    timer.unref();
    await readOn();
    const seen = new Map([...locks].map(([name, { records }]) => [name, records]));
    for (;;) {
      const mine = locks.get(own);
      const ahead = [...locks].filter(([name, { first }]) => name !== own && first < (mine?.first ?? 0));
      if (mine === undefined || lost || ahead.some(([name, { records }]) => records > (seen.get(name) ?? 0)))
        throw busy();
      if (ahead.length === 0) return;
      for (const [name, held] of ahead) if (isDead(held)) await remove(name, held);
      await sleep(LOOK_MS);
      await readOn();
    }
  }

  function isDead({ seenAt, stamp }: Held): boolean {
    return performance.now() - seenAt > DEAD_MS || (stamp !== undefined && Date.now() - stamp > ABANDONED_MS);
  }

  async function remove(name: string, held: Held): Promise<void> {
    const before = held.records;
    await write(name, null);
    await readOn();
    // Repeated at the last moment: both step back.
    if (held.records > before) throw busy();
  }

  async function release(): Promise<void> {
    if (timer === undefined) return;
    clearInterval(timer);
    timer = undefined;
    confirmedAt = Number.NEGATIVE_INFINITY;
    await write(own, null);
  }

  return {
    observe,
    isGone: (letterId) => gone.has(letterId),
    release,
    async hold() {
      if (!lost && performance.now() - confirmedAt < SURE_MS) return;
      try {
        if (timer === undefined) return await take();
        await repeat();
        await readOn();
        if (lost || performance.now() - confirmedAt >= SURE_MS) throw busy();
      } catch (error) {
        await release();
        throw error;
      }
    },
  };
}
