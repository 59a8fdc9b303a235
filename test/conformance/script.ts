import { setTimeout as sleep } from 'node:timers/promises';
import type { Handler, PublishOptions } from '../../src/client.ts';
import type { ConsumeOptions } from '../../src/consume/options.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { DeadLetter } from '../../src/errors.ts';
import type { Topic } from '../../src/topic.ts';
import type { Order } from './ledger.ts';

/** A topic of orders as plain data, so that a child process can define the same. */
export interface TopicScript {
  readonly name: string;
  /** Names of groups, those that are ordered with a `'key'`. */
  readonly groups: Readonly<Record<string, 'key' | 'none'>>;
  readonly partitions?: number;
  readonly lanes?: boolean;
}

export function scriptedTopic({ name, groups, partitions, lanes }: TopicScript): Topic<Order> {
  return defineTopic<Order>(name, {
    key: ({ key, n }) => key ?? `no-${n}`,
    groups: Object.fromEntries(Object.entries(groups).map(([group, order]) => [group, { order }])),
    ...(partitions === undefined ? {} : { partitions }),
    ...(lanes === true ? { priority: 'normal' as const } : {}),
  });
}

/** What a handler does, as plain data. */
export interface HandlerScript {
  /** Calls for these messages never end. */
  readonly holdFrom?: number;
  /** Fails while the attempt is at most this. */
  readonly failUntil?: number;
  /** Each message whose number divides by this is a dead letter. */
  readonly deadEvery?: number;
  /** The process is killed by its first call for this message. */
  readonly dieOn?: number;
  /** Takes up to this long, at random. */
  readonly upToMs?: number;
}

/** What is wrong with a process, as plain data. */
export interface ProcessScript {
  /** It dies at the first crash point of this name. */
  readonly dieAt?: string;
  /** It says each time when it passes the crash point of this name. */
  readonly tellAt?: string;
  /** It dies as soon as so many of its publishes were confirmed and so many of its handler calls have begun. */
  readonly dieAfter?: { readonly confirmed: number; readonly started: number };
  /** Its clock is ahead by so much; negative: behind. */
  readonly clockAheadMs?: number;
}

/** Calls `started` before, and `handled` as the last thing before it returns. */
export function scriptedHandler(
  { holdFrom, failUntil, deadEvery, dieOn, upToMs }: HandlerScript,
  note: (what: 'started' | 'handled', message: Parameters<Handler<Order, undefined>>[0]) => void,
): Handler<Order, undefined> {
  return async (message) => {
    note('started', message);
    if (message.payload.n === dieOn) process.kill(process.pid, 'SIGKILL');
    if (holdFrom !== undefined && message.payload.n >= holdFrom) await new Promise<never>(() => undefined);
    if (upToMs !== undefined) await sleep(Math.random() * upToMs);
    if (deadEvery !== undefined && message.payload.n % deadEvery === 0) throw new DeadLetter('as scripted');
    if (failUntil !== undefined && message.attempt <= failUntil) throw new Error('fails as scripted');
    note('handled', message);
  };
}

/** Options of publish that are plain data. */
export type PublishScript = Pick<PublishOptions, 'delayMs'>;

/** Options of consume that are plain data. */
export type ConsumeScript = Pick<ConsumeOptions, 'group' | 'concurrency' | 'prefetch' | 'timeoutMs' | 'leaseMs'> & {
  readonly retry?: {
    readonly immediate?: { readonly retries: number; readonly firstMs?: number };
    readonly delays?: readonly number[];
  };
};

/** Fails once, is retried at once at most `retries` times and then after each of `delays`; leases are short. */
export function quick(
  group: string,
  retries = 0,
  delays: readonly number[] = [],
): ConsumeScript & { readonly leaseMs: number } {
  return { group, leaseMs: 1_500, retry: { immediate: { retries, firstMs: 1 }, delays } };
}

/** The same where nobody dies, with a lease that a busy machine does not lose: what it loses is rightly handled twice. */
export function calm(...of: Parameters<typeof quick>): ReturnType<typeof quick> {
  return { ...quick(...of), leaseMs: 30_000 };
}
