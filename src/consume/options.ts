import type { Message } from '../message.ts';
import {
  type Check,
  type Checks,
  checkOptions,
  count,
  durationMs,
  func,
  oneOf,
  perSecond,
  positive,
  positiveMs,
  text,
} from '../options.ts';
import { type RetryOptions, type RetryPlan, retryChecks, retryPlan } from '../policy/delays.ts';
import type { DedupeStore, HaltStore, Inbox } from '../port.ts';
import { type ConsumerBreakerOptions, consumerBreakerChecks } from './breaker.ts';
import { DEFAULT_WEIGHTS, type LaneWeights } from './lanes.ts';

export type Classified = 'retry' | 'dead-letter';

export interface ConsumeOptions<Tx = undefined> {
  readonly group: string;
  /** If given, must agree with the topic's declaration (S1). */
  readonly order?: 'none' | 'key';
  /** Handlers at once in this consumer. @default 10 */
  readonly concurrency?: number;
  /** Deliveries held unsettled, per lane and shard; bounds memory and priority inversion (G6). @default twice the concurrency, at least 32 (ordered: 100) */
  readonly prefetch?: number;
  /**
   * Ordered groups: most messages per lane and shard that wait in memory behind a key that is being retried, that key's
   * own included. Then the shard stands still (event `held`, and `health()` says so). Limits `prefetch`. @default prefetch
   */
  readonly heldMax?: number;
  /** @default 2 immediate retries, then after 5 s, 1 min and 10 min */
  readonly retry?: RetryOptions;
  /** One handler call's deadline; then its signal aborts and the attempt has failed. @default 60_000 */
  readonly timeoutMs?: number;
  /** Effects once: the handler's writes and the memory of the message commit together (G4). */
  readonly inbox?: Inbox<Tx>;
  /** Remembers handled messages outside a transaction: fewer repeats, not none. */
  readonly dedupe?: DedupeStore;
  /** Pauses the group's intake here while handlers keep failing, and spends no attempts meanwhile (G10). @default none */
  readonly breaker?: ConsumerBreakerOptions;
  /** What a thrown error means. @default 'retry' */
  readonly classify?: (error: unknown, context: { readonly message: Message; readonly attempts: number }) => Classified;
  /**
   * What becomes of a message that cannot be handled. `'halt-key'`, for ordered groups: its key stands still, it and all
   * later ones of the key are dead-lettered as `halted`, until `deadLetters(…).release(key)`. @default 'dead-letter'
   */
  readonly onExhausted?: 'dead-letter' | 'halt-key';
  /** Where it is kept which keys stand still: `store.halts`. One read per message, or per `concurrency` messages at once. */
  readonly halts?: HaltStore;
  /** Where a group that does not exist yet begins (S5). @default 'earliest' */
  readonly from?: 'earliest' | 'latest' | Date;
  /** Shares of the lanes when all have messages. @default { high: 64, normal: 8, low: 1 } */
  readonly laneWeights?: Partial<LaneWeights>;
  /**
   * Handler calls started per second, immediate retries and a breaker's probes included; evenly spaced, never a burst. The
   * group's consumers in one client share it, the lowest that any of them gives; each process has its own. @default unlimited
   */
  readonly ratePerSecond?: number;
  /** Where deliveries are leased: a consumer that died holds its messages for at most this long. @default 30_000 */
  readonly leaseMs?: number;
}

export interface ConsumePlan {
  readonly group: string;
  readonly concurrency: number;
  readonly prefetch: number | undefined;
  readonly heldMax: number | undefined;
  readonly retry: RetryPlan;
  readonly timeoutMs: number;
  readonly inbox: Inbox<unknown> | undefined;
  readonly dedupe: DedupeStore | undefined;
  readonly breaker: ConsumerBreakerOptions | undefined;
  readonly classify: NonNullable<ConsumeOptions['classify']>;
  /** Set if keys may stand still. */
  readonly halts: HaltStore | undefined;
  readonly from: 'earliest' | 'latest' | number;
  readonly laneWeights: LaneWeights;
  readonly ratePerSecond: number | undefined;
  readonly leaseMs: number;
}

const isFrom: Check = (value) =>
  value === 'earliest' || value === 'latest' || (value instanceof Date && !Number.isNaN(value.getTime()))
    ? undefined
    : "must be 'earliest', 'latest' or a valid Date";
const isDedupe: Check = (value) =>
  typeof (value as DedupeStore | null)?.claim === 'function' ? undefined : 'must be a dedupe store';
const isInbox: Check = (value) =>
  typeof (value as Inbox<unknown> | null)?.run === 'function' ? undefined : 'must be the inbox of a store';
export const isHalts: Check = (value) =>
  typeof (value as HaltStore | null)?.admit === 'function' ? undefined : 'must be the halts of a store';

const CHECKS: Readonly<Record<keyof ConsumeOptions, Check | Checks>> = {
  group: text,
  order: oneOf('none', 'key'),
  concurrency: count(1, 10_000),
  prefetch: count(1, 10_000),
  heldMax: count(1, 10_000),
  retry: retryChecks,
  timeoutMs: positiveMs,
  inbox: isInbox,
  dedupe: isDedupe,
  breaker: consumerBreakerChecks,
  classify: func,
  onExhausted: oneOf('dead-letter', 'halt-key'),
  halts: isHalts,
  from: isFrom,
  laneWeights: { high: positive, normal: positive, low: positive },
  ratePerSecond: perSecond,
  leaseMs: (value) => positiveMs(value) ?? ((value as number) < 300 ? 'must be at least 300' : undefined),
};

export function consumePlan(options: ConsumeOptions<unknown>, extra: Checks = {}): ConsumePlan {
  checkOptions('consume', options, { ...CHECKS, ...extra }, { group: "group: 'billing'" });
  const { from = 'earliest', onExhausted, halts } = options;
  if ((onExhausted === 'halt-key') !== (halts !== undefined))
    throw new TypeError("consume: onExhausted: 'halt-key' and halts need each other: give both, halts: store.halts");
  return {
    group: options.group,
    concurrency: options.concurrency ?? 10,
    prefetch: options.prefetch,
    heldMax: options.heldMax,
    retry: retryPlan(options.retry),
    timeoutMs: options.timeoutMs ?? 60_000,
    inbox: options.inbox,
    dedupe: options.dedupe,
    breaker: options.breaker,
    classify: options.classify ?? (() => 'retry'),
    halts,
    from: from instanceof Date ? from.getTime() : from,
    laneWeights: { ...DEFAULT_WEIGHTS, ...options.laneWeights },
    ratePerSecond: options.ratePerSecond,
    leaseMs: options.leaseMs ?? 30_000,
  };
}

export interface BatchOptions {
  /** Most messages of one call. */
  readonly size: number;
  /** Longest wait for a batch to fill. @default 0: what is there */
  readonly waitMs?: number;
}
export function checkBatchOptions(batch: unknown): asserts batch is BatchOptions {
  checkOptions('batch', batch, { size: count(1, 10_000), waitMs: durationMs }, { size: 'batch: { size: 100 }' });
}
