import type { Channel, GetMessage } from 'amqplib';
import type { AdapterHooks, DeadLetterStore, SettleOutcome, StoredLetter, Topology } from '../../src/port.ts';
import type { Link } from './connection.ts';
import { onThrowaway, readyCount } from './declare.ts';
import { adapterError, replyCode } from './errors.ts';
import { fromLetter, toCopy, toIncoming } from './headers.ts';
import type { Presence } from './presence.ts';
import type { Sender } from './sender.ts';
import { deadLock, deadQueue, groupOf, queueName } from './topology.ts';

const CONFIRM_MS = 30_000;
const CONNECT_WAIT_MS = 5_000;

interface Scan {
  readonly channel: Channel;
  open: boolean;
}
interface LetterHandle {
  readonly scan: Scan;
  readonly message: GetMessage;
}

export interface DeadLetterContext {
  readonly hooks: AdapterHooks;
  readonly link: Link;
  readonly presence: Presence;
  readonly sender: Sender;
  /** Names of scans of this adapter: the broker's lock does not exclude those of one connection. */
  readonly scanning: Set<string>;
}

/**
 * The group's dead-letter queue. A scan takes letters out one by one and keeps them unacknowledged until it is left, when
 * the rest goes back in order; the broker's timeout for acknowledgements (30 minutes by default) bounds its length.
 */
export function deadLetters(context: DeadLetterContext, topology: Topology, group: string): DeadLetterStore {
  const { hooks, link, presence, sender, scanning } = context;
  const { topic } = topology;
  const queue = deadQueue(topic, group);

  async function count(): Promise<number> {
    const model = await link.opened(CONNECT_WAIT_MS);
    return (await onThrowaway(model, (on) => readyCount(on, queue))) ?? 0;
  }

  async function* scan(options: Parameters<DeadLetterStore['scan']>[0]): AsyncGenerator<readonly StoredLetter[]> {
    const lock = deadLock(topic, group);
    if (scanning.has(lock)) throw busy();
    scanning.add(lock);
    let current: Scan | undefined;
    try {
      // Letters that are put back, or that come meanwhile, are not seen by this scan.
      let left = await count();
      if (left === 0) return;
      current = await openScan(lock);
      while (left > 0) {
        options.signal?.throwIfAborted();
        const page = await take(current, Math.min(left, options.pageSize));
        if (page.length === 0) return;
        left -= page.length;
        yield page;
      }
    } finally {
      if (current !== undefined) await leave(current, lock);
      scanning.delete(lock);
    }
  }

  async function openScan(lock: string): Promise<Scan> {
    const channel = await (await link.opened(CONNECT_WAIT_MS)).createChannel();
    const opened: Scan = { channel, open: true };
    channel.on('error', () => {});
    channel.on('close', () => {
      opened.open = false;
    });
    try {
      await channel.assertQueue(lock, { exclusive: true, durable: false, autoDelete: true });
    } catch (error) {
      throw replyCode(error) === 405 ? busy(error) : error;
    }
    return opened;
  }

  async function take(current: Scan, most: number): Promise<readonly StoredLetter[]> {
    const page: StoredLetter[] = [];
    while (page.length < most) {
      const message = await current.channel.get(queue);
      if (message === false) break;
      const { letterId, deadAt, lane } = fromLetter(message.properties);
      page.push({
        // A letter that another tool put here has no name of its own.
        letterId: letterId ?? String(message.properties.messageId ?? message.fields.deliveryTag),
        message: toIncoming(message.properties, message.content),
        lane,
        deadAt,
        handle: { scan: current, message } satisfies LetterHandle,
      });
    }
    return page;
  }

  /** By nack, which no version counts as a failure, and before the close, which some do. */
  async function leave(current: Scan, lock: string): Promise<void> {
    try {
      current.channel.nackAll(true);
      await current.channel.deleteQueue(lock);
      await current.channel.close();
    } catch {
      // The channel is gone, and with it the lock; the broker has put the letters back itself.
    }
    current.open = false;
  }

  function busy(cause?: unknown): Error {
    return adapterError('busy', `somebody else is at the dead letters of topic "${topic}", group "${group}"`, cause);
  }

  function remove({ handle }: StoredLetter): SettleOutcome {
    const { scan, message } = handle as LetterHandle;
    if (!scan.open) return 'stale';
    try {
      scan.channel.ack(message);
      return 'settled';
    } catch {
      return 'stale';
    }
  }

  return {
    scan,
    count,
    async discard(letters) {
      return letters.map(remove);
    },
    async replay(letters, marks) {
      const known = presence.known(topology);
      const { ordered } = groupOf(known, group);
      const live = letters.filter(({ handle }) => (handle as LetterHandle).scan.open);
      const parcels = live.map(({ handle }) => {
        const { message } = handle as LetterHandle;
        const { lane, shard } = fromLetter(message.properties);
        const target = queueName(topic, group, known.lanes ? lane : 'normal', ordered ? (shard ?? 0) : undefined);
        const properties = toCopy(message.properties, marks);
        return { exchange: '', routingKey: target, body: message.content, properties };
      });
      const sent = await sender.send(`${topic}::copies`, parcels, { deadline: Date.now() + CONFIRM_MS });
      await hooks.crashPoint?.('replay:copy-confirmed');
      const outcomes = new Map<StoredLetter, SettleOutcome>();
      for (const [index, letter] of live.entries()) {
        // Without a confirm it stays where it is: it goes back when the scan is left.
        outcomes.set(letter, sent[index]!.kind === 'confirmed' ? afterCopy(remove(letter)) : 'unknown');
      }
      return letters.map((letter) => outcomes.get(letter) ?? 'stale');
    },
  };
}

/** The copy is stored: if the original could not be removed, the letter is in both places. */
function afterCopy(outcome: SettleOutcome): SettleOutcome {
  return outcome === 'settled' ? 'settled' : 'unknown';
}
