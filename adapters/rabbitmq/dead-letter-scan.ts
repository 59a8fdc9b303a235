import type { Channel, ConsumeMessage } from 'amqplib';
import { type Bell, bell } from './bell.ts';
import { closeChannel, flushAcks, needsFlush, onThrowaway, versionOf } from './channels.ts';
import type { Link } from './connection.ts';
import { readyCount } from './declare.ts';
import { replyCode } from './errors.ts';

/**
 * An open look at a queue: what was taken out is unacknowledged until it is acknowledged one by one, or put back by the end
 * of the look.
 *
 * Seen on 4.0: what a channel had unsettled goes back consumer by consumer, in the order of their tags while there are
 * at most 32, each in order of delivery; `basic.get` makes a consumer of each message, and so shuffles. And it goes
 * behind what went back earlier, but before what was never delivered.
 */
export interface Scan {
  readonly open: boolean;
  /** The next letters, at most this many; fewer where the queue has no more. */
  take(most: number): Promise<readonly ConsumeMessage[]>;
  /** Answers false where the channel is gone and the letter therefore back in the queue. */
  remove(message: ConsumeMessage): boolean;
  leave(): Promise<void>;
}

const CONNECT_WAIT_MS = 5_000;
/** A queue that gives nothing for so long has nothing. */
const STALL_MS = 2_000;
/** Consumers per channel whose order of tags RabbitMQ keeps; one is for the end. */
const MOST_PAGES = 31;
/** RabbitMQ 4.3 caps the prefetch of a quorum queue here. */
const MOST_PREFETCH = 2_000;

/** Locks the queue for other scans of this and other processes, by an exclusive queue. Throws what RabbitMQ answers. */
export async function openScan(
  link: Link,
  of: { readonly queue: string; readonly lock: string; readonly letters: number; readonly pageSize: number },
): Promise<Scan> {
  const { queue, lock } = of;
  const channel = await (await link.opened(CONNECT_WAIT_MS)).createChannel();
  const arrived = bell();
  const waiting: ConsumeMessage[] = [];
  const pageSize = Math.min(MOST_PREFETCH, Math.max(of.pageSize, Math.ceil(of.letters / MOST_PAGES)));
  let open = true;
  let pages = 0;
  let left = of.letters;
  let held = 0;
  let removed = 0;
  let last: ConsumeMessage | undefined;
  channel.on('error', () => {});
  channel.on('close', () => {
    open = false;
    arrived.ring();
  });
  await channel.assertQueue(lock, { exclusive: true, durable: false, autoDelete: true });

  /** Moves so many from the queue to `waiting`. The consumer ends at once: acknowledging must not bring more. */
  async function fetch(count: number): Promise<void> {
    const consumerTag = `scan-${String(pages++).padStart(6, '0')}`;
    const wanted = waiting.length + count;
    await channel.prefetch(count, false);
    await channel.consume(
      queue,
      (message) => {
        if (message !== null) {
          waiting.push(message);
          held++;
        }
        arrived.ring();
      },
      { consumerTag },
    );
    await filled({ arrived, isDone: () => !open || waiting.length >= wanted, size: () => waiting.length });
    if (open) await channel.cancel(consumerTag);
    last = waiting.at(-1) ?? last;
    left = waiting.length < wanted ? 0 : left - count;
  }

  /** Takes along what went back earlier, so that what goes back now does not end up behind it. */
  async function takeReturned(): Promise<void> {
    if (last?.fields.redelivered && left > 0) await fetch(Math.min(left, MOST_PREFETCH));
  }

  return {
    get open() {
      return open;
    },
    async take(most) {
      if (waiting.length === 0 && left > 0) await fetch(Math.min(left, pageSize));
      if (!open) throw new Error('channel closed while dead letters were read; they are back in the queue');
      return waiting.splice(0, most);
    },
    remove(message) {
      if (!open) return false;
      try {
        channel.ack(message);
        held--;
        removed++;
        return true;
      } catch {
        return false;
      }
    },
    async leave() {
      // Where the channel is gone, RabbitMQ has put the letters back itself.
      const total = await putBack().catch(() => 0);
      open = false;
      await unlock(total).catch(() => {});
    },
  };

  /** Answers how many letters the queue will have. */
  async function putBack(): Promise<number> {
    await takeReturned();
    if (needsFlush(removed)) await flushAcks(channel, queue);
    const { messageCount } = await channel.checkQueue(queue);
    open = false;
    if (countsClosing(channel)) channel.nackAll(true);
    await closeChannel(channel);
    return messageCount + held;
  }

  /** Lets others in when the queue has all its letters: it hears of the closed channel a moment after us. */
  async function unlock(total: number): Promise<void> {
    const model = await link.opened(CONNECT_WAIT_MS);
    await onThrowaway(model, async (on) => {
      const until = Date.now() + STALL_MS;
      while (((await readyCount(on, queue)) ?? total) < total && Date.now() < until) await arrived.wait(5);
      await on.run((other) => other.deleteQueue(lock));
    });
  }
}

async function filled(wait: { arrived: Bell; isDone: () => boolean; size: () => number }): Promise<void> {
  while (!wait.isDone()) {
    const before = wait.size();
    await wait.arrived.wait(STALL_MS);
    if (wait.size() === before) return;
  }
}

/** From 4.3 on a closed channel counts against a delivery limit, which a policy may have set; a nack does not. */
function countsClosing(channel: Channel): boolean {
  const { major, minor } = versionOf(channel);
  return major > 4 || (major === 4 && minor >= 3);
}

export function isLocked(error: unknown): boolean {
  return replyCode(error) === 405;
}
