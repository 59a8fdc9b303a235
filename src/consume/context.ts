/** What the steps of a message have in common. */

import type { Emitter } from '../events.ts';
import type { Message } from '../message.ts';
import type { Rate } from '../policy/rate.ts';
import type { Delivery, Headers, SettleOutcome } from '../port.ts';
import type { Topic } from '../topic.ts';
import type { ConsumerBreaker } from './breaker.ts';
import type { Calls } from './calls.ts';
import type { Halts } from './halt.ts';
import type { ConsumePlan } from './options.ts';
import type { Renewals } from './renewals.ts';
import type { Settler } from './settle.ts';
import type { Work } from './work.ts';

export interface CallContext {
  /** The inbox's transaction; throws once the handler has timed out or been aborted (S24). Undefined without an inbox. */
  readonly tx: unknown;
  readonly signal: AbortSignal;
}

export interface ProcessContext {
  readonly topic: Topic;
  readonly plan: ConsumePlan;
  readonly ordered: boolean;
  readonly stablePositions: boolean;
  readonly calls: Calls;
  readonly settler: Settler;
  readonly emitter: Emitter;
  readonly breaker: ConsumerBreaker | undefined;
  readonly rate: Rate;
  /** Undefined unless keys stand still where a message cannot be handled (S27). */
  readonly halts: Halts | undefined;
  /** Undefined without a dedupe store, or where it renews nothing. */
  readonly renewals: Renewals | undefined;
  /** Aborts when the consumer stops waiting for handlers. */
  readonly closing: AbortSignal;
  readonly invoke: (message: Message, context: CallContext) => unknown;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  /** Replaces a held delivery's marks on the broker; undefined where it cannot. Never rejects. */
  mark(delivery: Delivery, marks: Headers): Promise<SettleOutcome | undefined>;
  /** Ordered groups keep a key waiting in memory instead of sending its message round (S22). */
  hold(work: Work, delayMs: number): void;
}

/** Whether the key may go on: false while its message is held for a retry. */
export type Finished = boolean;

/** What one slot does: takes work from the schedule and says when it is through. */
export interface Runner {
  /** The most messages of one run; more than 1 only for batches. */
  readonly batchSize: number;
  readonly batchWaitMs: number;
  /** Calls `finished` once for each work: true frees its key. Never rejects. */
  run(
    batch: readonly Work[],
    context: Omit<ProcessContext, 'invoke'>,
    finished: (work: Work, free: boolean) => void,
  ): Promise<void>;
}
