import type { BatchAnswer, KafkaClient, KafkaProducer, PartitionBatch } from './client.ts';
import type { BrokerClock } from './clock.ts';
import { notSent } from './errors.ts';
import { within } from './within.ts';

const FIRST_RETRY_MS = 50;
/** After this long at most what may have been stored is sent again. */
export const LAST_RETRY_MS = 1_000;
const CLOSE_MS = 1_200;

/** Sends batches, each partition's in the order in which they were given, by one idempotent producer after another. */
export interface Sender {
  /** One answer per batch, in order, by the deadline (epoch milliseconds). Never rejects. */
  send(batches: readonly PartitionBatch[], deadline: number): Promise<readonly BatchAnswer[]>;
  close(): Promise<void>;
}

interface Slot {
  readonly producer: Promise<KafkaProducer>;
  /** Sends that use it. A retired one is closed when they have ended. */
  users: number;
  retired: boolean;
}

/**
 * Nothing goes to a partition while an earlier request to it is unanswered (S11). One that outlives its deadline is waited
 * for at most a request timeout; then its sockets are destroyed and a further request timeout passes, in which the
 * broker would still take what had reached it. What may have been stored is sent again by the same producer alone, whose
 * sequence numbers make the broker store it once; only at the deadline is it given up as `maybe`.
 */
export function openSender(client: KafkaClient, clock: BrokerClock, requestTimeoutMs: number): Sender {
  const tails = new Map<string, Promise<void>>();
  const timers = new Set<() => void>();
  const slots = new Set<Slot>();
  let current: Slot | undefined;
  let closed = false;

  function acquire(): Slot {
    if (current === undefined) {
      const slot: Slot = { producer: client.producer(), users: 0, retired: false };
      slots.add(slot);
      slot.producer.catch(() => retire(slot));
      current = slot;
    }
    current.users++;
    return current;
  }

  function retire(slot: Slot): void {
    slot.retired = true;
    if (current === slot) current = undefined;
    if (slot.users === 0) discard(slot);
  }

  function release(slot: Slot): void {
    slot.users--;
    if (slot.retired && slot.users === 0) discard(slot);
  }

  function discard(slot: Slot): void {
    if (!slots.delete(slot)) return;
    slot.producer.then(
      (producer) => producer.close(),
      () => {},
    );
  }

  async function send(batches: readonly PartitionBatch[], deadline: number): Promise<readonly BatchAnswer[]> {
    const names = batches.map(({ topic, partition }) => `${topic}/${partition}`);
    const turn = Promise.all(names.map((name) => tails.get(name)));
    const over = Promise.withResolvers<void>();
    for (const name of names) tails.set(name, over.promise);
    over.promise.then(() => {
      for (const name of names) if (tails.get(name) === over.promise) tails.delete(name);
    });
    if (!(await inTime(turn, deadline))) {
      turn.then(() => over.resolve());
      return batches.map(() => ({
        stored: 'no',
        error: notSent('an earlier publish to this partition is still unanswered'),
      }));
    }
    const { answers, settled } = await inTurn(batches, deadline);
    settled.then(over.resolve);
    return answers;
  }

  /** `settled` resolves when nothing of these batches can reach the broker any more. */
  async function inTurn(
    batches: readonly PartitionBatch[],
    deadline: number,
  ): Promise<{ answers: BatchAnswer[]; settled: Promise<void> }> {
    const answers: BatchAnswer[] = batches.map(() => ({
      stored: 'no',
      error: notSent('not connected to Kafka in time'),
    }));
    if (closed)
      return {
        answers: answers.map(() => ({ stored: 'no', error: notSent('the client is closed') })),
        settled: Promise.resolve(),
      };
    const slot = acquire();
    let producer: KafkaProducer | undefined;
    try {
      producer = await inTime(slot.producer, deadline);
    } catch (error) {
      answers.fill({ stored: 'no', error });
    }
    if (producer === undefined) {
      release(slot);
      return { answers, settled: Promise.resolve() };
    }
    let open = [...batches.keys()];
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
      const request = producer.send(open.map((index) => batches[index]!));
      const given = await inTime(request, deadline);
      if (given === undefined) {
        for (const index of open) answers[index] = { stored: 'maybe', error: unanswered() };
        retire(slot);
        return { answers, settled: quarantine(slot, producer, request) };
      }
      for (const [i, index] of open.entries()) answers[index] = after(answers[index]!, observed(given[i]!));
      open = open.filter((index) => answers[index]!.stored === 'maybe');
      const fenced = open.some((index) => (answers[index] as { fenced?: boolean }).fenced === true);
      const spoilt = open.length > 0 && (fenced || slot.retired || closed || Date.now() + retryMs >= deadline);
      if (spoilt) retire(slot);
      if (spoilt || open.length === 0) {
        release(slot);
        return { answers, settled: Promise.resolve() };
      }
      await pause(retryMs);
    }
  }

  /** What may have been stored once is not made unstored by a later try that was not: it may still be there. */
  function after(before: BatchAnswer, answer: BatchAnswer): BatchAnswer {
    return before.stored === 'maybe' && answer.stored === 'no' ? { stored: 'maybe', error: answer.error } : answer;
  }

  async function quarantine(slot: Slot, producer: KafkaProducer, request: Promise<unknown>): Promise<void> {
    if ((await inTime(request, Date.now() + requestTimeoutMs)) === undefined && !closed) {
      producer.kill();
      await pause(requestTimeoutMs);
    }
    release(slot);
  }

  function observed(answer: BatchAnswer): BatchAnswer {
    if (answer.stored === 'yes' && answer.appendedAt !== undefined) clock.observe(answer.appendedAt, true);
    return answer;
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        timers.delete(done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, ms));
      timers.add(done);
      if (closed) done();
    });
  }

  /** Undefined when the deadline comes first, or we close. */
  async function inTime<T>(promise: Promise<T>, deadline: number): Promise<T | undefined> {
    const late = Promise.withResolvers<undefined>();
    const done = () => late.resolve(undefined);
    timers.add(done);
    const timer = setTimeout(done, Math.max(0, deadline - Date.now()));
    try {
      return await Promise.race([promise, late.promise]);
    } finally {
      clearTimeout(timer);
      timers.delete(done);
    }
  }

  return {
    send,
    async close() {
      closed = true;
      for (const done of timers) done();
      // One that is still connecting is not waited for: its sockets go with the client's.
      const closings = [...slots].map(async (slot) => (await slot.producer.catch(() => undefined))?.close());
      await within(Promise.all(closings), CLOSE_MS);
      slots.clear();
    },
  };
}

const unanswered = (): Error => Object.assign(new Error('Kafka did not answer in time'), { retriable: true });
