import type { ConsumeMessage } from 'amqplib';
import type { AdapterHooks, DeadLetterStore, SettleOutcome, StoredLetter, Topology } from '../../src/port.ts';
import { onThrowaway } from './channels.ts';
import type { Link } from './connection.ts';
import { isLocked, openScan, type Scan } from './dead-letter-scan.ts';
import { readyCount } from './declare.ts';
import { adapterError } from './errors.ts';
import { fromLetter, toCopy, toIncoming } from './headers.ts';
import type { Presence } from './presence.ts';
import type { Parcel, Sender } from './sender.ts';
import { deadLock, deadQueue, groupOf, queueName } from './topology.ts';

const CONFIRM_MS = 30_000;
const CONNECT_WAIT_MS = 5_000;

interface LetterHandle {
  readonly scan: Scan;
  readonly message: ConsumeMessage;
  /** Replayed or discarded. */
  gone: boolean;
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
 * The group's dead-letter queue. A scan keeps what it has read unacknowledged until it is left, so the broker's timeout for
 * acknowledgements (30 minutes by default) bounds its length. Up to 60,000 letters stay in order over any number of
 * scans; of scans that are left early, only while at most 2,000 letters were read by earlier ones.
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
    const { pageSize, signal } = options;
    const lock = deadLock(topic, group);
    const busy = `somebody else is at the dead letters of topic "${topic}", group "${group}"`;
    if (scanning.has(lock)) throw adapterError('busy', busy);
    scanning.add(lock);
    let current: Scan | undefined;
    try {
      // Letters that are put back, or that come meanwhile, are not seen by this scan.
      const letters = await count();
      if (letters === 0) return;
      current = await openScan(link, { queue, lock, letters, pageSize }).catch((error) => {
        throw isLocked(error) ? adapterError('busy', busy, error) : error;
      });
      for (;;) {
        signal?.throwIfAborted();
        const page = await current.take(pageSize);
        if (page.length === 0) return;
        yield page.map((message) => toStored(current!, message));
      }
    } finally {
      await current?.leave();
      scanning.delete(lock);
    }
  }

  function toStored(from: Scan, message: ConsumeMessage): StoredLetter {
    const { letterId, deadAt, lane } = fromLetter(message.properties);
    return {
      // A letter that another tool put here has no name of its own.
      letterId: letterId ?? String(message.properties.messageId ?? message.fields.deliveryTag),
      message: toIncoming(message.properties, message.content),
      lane,
      deadAt,
      handle: { scan: from, message, gone: false } satisfies LetterHandle,
    };
  }

  function toParcel(letter: StoredLetter, known: Topology, marks: Parameters<DeadLetterStore['replay']>[1]): Parcel {
    const { message } = letter.handle as LetterHandle;
    const { lane, shard } = fromLetter(message.properties);
    const place = groupOf(known, group).ordered ? (shard ?? 0) : undefined;
    const routingKey = queueName(topic, group, known.lanes ? lane : 'normal', place);
    return { exchange: '', routingKey, body: message.content, properties: toCopy(message.properties, marks) };
  }

  return {
    scan,
    count,
    async discard(letters) {
      return letters.map((letter) => (remove(letter) ? 'settled' : 'stale'));
    },
    async replay(letters, marks) {
      const known = presence.known(topology);
      const live = letters.filter(isOurs);
      const parcels = live.map((letter) => toParcel(letter, known, marks));
      const sent = await sender.send(`${topic}::copies`, parcels, { deadline: Date.now() + CONFIRM_MS });
      await hooks.crashPoint?.('replay:copy-confirmed');
      const outcomes = new Map<StoredLetter, SettleOutcome>();
      for (const [index, letter] of live.entries()) {
        // Without a confirm it goes back when the scan is left; and if the original cannot be removed, it is in both places.
        const moved = sent[index]!.kind === 'confirmed' && remove(letter);
        outcomes.set(letter, moved ? 'settled' : 'unknown');
      }
      return letters.map((letter) => outcomes.get(letter) ?? 'stale');
    },
  };
}

function isOurs({ handle }: StoredLetter): boolean {
  const { scan, gone } = handle as LetterHandle;
  return scan.open && !gone;
}

function remove(letter: StoredLetter): boolean {
  const handle = letter.handle as LetterHandle;
  if (!isOurs(letter)) return false;
  handle.gone = true;
  return handle.scan.remove(handle.message);
}
