/** How a message leaves this consumer: each way ends in one settlement, or in none where it is held or was lost. */

import { HoldfastError } from '../errors.ts';
import { wholeMs } from '../policy/delays.ts';
import type { Finished, ProcessContext } from './context.ts';
import { deadMarks, readProgress, retryMarks } from './marks.ts';
import type { Work } from './work.ts';

export async function settleDone(
  work: Work,
  { settler, halts, closing, crashPoint }: ProcessContext,
): Promise<Finished> {
  if (work.revoked) return true;
  if (halts !== undefined && work.parking?.entry === 'next') {
    // Before the broker forgets it: a release would wait for ever for a message that is gone.
    if (!(await told(() => halts.through(work), closing)) || work.revoked) return true;
    await crashPoint?.('halt:through');
  }
  const settled = settler.settle({ kind: 'done', delivery: work.delivery });
  // Else not awaited: order speaks of successful handlings, so neither the slot nor the key has anything to wait for.
  // But a suspect is counted, and must not come again because the next one has killed the process.
  if (work.suspect) await settled;
  return true;
}

export async function retry(work: Work, context: ProcessContext, delayMs: number): Promise<Finished> {
  if (work.revoked) return true;
  if (context.ordered) {
    await countSoFar(work, context);
    context.hold(work, wholeMs(delayMs));
    return false;
  }
  await context.crashPoint?.('retry:sending');
  await context.settler.settle({
    kind: 'retry',
    delivery: work.delivery,
    delayMs: wholeMs(delayMs),
    marks: retryMarks(work, Date.now()),
  });
  await context.crashPoint?.('retry:answered');
  return true;
}

/** False where the consumer closes before the store has answered: the message is given back. */
async function told(call: () => Promise<void>, closing: AbortSignal): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (closing.aborted) return false;
    throw error;
  }
}

/** In an ordered group a message stays where it is between its attempts: they are counted there, where the broker can (G8). */
export async function countSoFar(
  work: Work,
  { mark, crashPoint }: Pick<ProcessContext, 'mark' | 'crashPoint'>,
): Promise<void> {
  const { attempts } = work;
  if (attempts === work.counted || work.revoked) return;
  if ((await mark(work.delivery, retryMarks(work, Date.now()))) !== 'settled') return;
  work.counted = attempts;
  await crashPoint?.('retry:counted');
}

/** Later again with its attempts as they are: what an open breaker does instead of a retry. */
export async function unspent(work: Work, context: ProcessContext, delayMs: number): Promise<Finished> {
  if (work.revoked) return true;
  if (context.ordered) {
    await countSoFar(work, context);
    context.hold(work, delayMs);
    return false;
  }
  const { delivery } = work;
  const { marks } = delivery.message;
  const same = !work.suspect && work.attempts === readProgress(marks).attempts;
  await context.settler.settle({
    kind: 'retry',
    delivery,
    delayMs,
    marks: same ? marks : retryMarks(work, Date.now()),
  });
  return true;
}

export async function dead(work: Work, context: ProcessContext, reason: string, error: unknown): Promise<Finished> {
  if (work.revoked) return true;
  const { plan, topic, settler, emitter } = context;
  const why = deadMarks({ ...work, reason, error, group: plan.group }, work.delivery, Date.now());
  const standing = await standsStill(work, context);
  if (standing === undefined) return true;
  const marks = standing === 'halted' ? { ...why, reason: HALTED, cause: why.reason! } : why;
  await context.crashPoint?.('dead:sending');
  const outcome = await settler.settle({ kind: 'dead', delivery: work.delivery, marks });
  await context.crashPoint?.('dead:answered');
  if (outcome === 'stale' && standing === 'halted') await told(() => context.halts!.withdraw(work), context.closing);
  if (outcome === 'settled') {
    const id = work.delivery.message.id ?? work.delivery.position;
    emitter.emit('dead-lettered', {
      topic: topic.name,
      group: plan.group,
      id,
      reason: marks.reason ?? reason,
      attempts: work.attempts,
    });
  }
  return true;
}

/** The reason of dead letters whose key stands still (S27). */
export const HALTED = 'halted';

/** Whether its key stands still: before, or from now on; undefined where it is not known, as the consumer closes. */
async function standsStill(work: Work, context: ProcessContext): Promise<'halted' | 'before' | 'no' | undefined> {
  const { halts, closing, emitter, topic, plan, crashPoint } = context;
  if (halts === undefined || work.parking === undefined) return 'no';
  if (work.parking.entry === 'parked') {
    await crashPoint?.('halt:parked');
    return 'before';
  }
  if (!(await told(() => halts.halt(work), closing)) || work.revoked) return undefined;
  const detail = `a key of group "${plan.group}" of topic "${topic.name}" stands still`;
  emitter.emit('warning', { code: 'key-halted', detail });
  await crashPoint?.('halt:halted');
  return 'halted';
}

export async function expired(work: Work, context: ProcessContext): Promise<Finished> {
  const { topic, plan, emitter, halts, closing } = context;
  if (topic.options.onExpired !== 'drop') {
    // Its time is over: nobody waits for it any more, nor because of it.
    if (work.parking?.entry === 'next' && !(await told(() => halts!.through(work), closing))) return true;
    return dead(work, { ...context, halts: undefined }, 'expired', undefined);
  }
  emitter.emit('dropped', {
    topic: topic.name,
    group: plan.group,
    id: work.delivery.message.id ?? work.delivery.position,
    reason: 'expired',
  });
  return settleDone(work, context);
}

export const lostError = (topic: string, group: string): HoldfastError =>
  new HoldfastError(
    'handler-aborted',
    `Group "${group}" of topic "${topic}" has lost the message: its connection, lease, partition or dedupe claim is gone, or its consumer closes. It comes again`,
  );
