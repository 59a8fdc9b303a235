import { createHash } from 'node:crypto';
import type { ConsumeMessage, MessageProperties } from 'amqplib';
import type { AdapterHooks, DeadLetterStore, SettleOutcome, StoredLetter, Topology } from '../../src/port.ts';
import { onThrowaway } from './channels.ts';
import type { Link } from './connection.ts';
import { isLocked, openScan, type Scan } from './dead-letter-scan.ts';
import { readyCount } from './declare.ts';
import { adapterError } from './errors.ts';
import { fromLetter, toCopy, toIncoming, toProperties } from './headers.ts';
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
    // A letter that another tool put here has no name of its own.
    const name = letterId ?? String(message.properties.messageId ?? digestOf(message.content));
    return {
      letterId: name,
      place: `${String(deadAt ?? 0).padStart(16, '0')}-${name}`,
      message: toIncoming(message.properties, message.content),
      lane,
      deadAt,
      handle: { scan: from, message, gone: false } satisfies LetterHandle,
    };
  }

  /** To the queue that it came from; in an ordered group, to that of `partition` where it is given. */
  function toParcel(
    { handle }: StoredLetter,
    known: Topology,
    { partition, body, properties }: Pick<Parcel, 'body' | 'properties'> & { readonly partition?: number | undefined },
  ): Parcel {
    const { lane, shard } = fromLetter((handle as LetterHandle).message.properties);
    const place = groupOf(known, group).ordered ? (partition ?? shard ?? 0) : undefined;
    return {
      exchange: '',
      routingKey: queueName(topic, group, known.lanes ? lane : 'normal', place),
      body,
      properties,
    };
  }

  /** Copies, waits for the confirms, then removes the letters of those that are stored. */
  async function move(
    letters: readonly StoredLetter[],
    toParcels: (known: Topology, index: number) => Parcel,
  ): Promise<SettleOutcome[]> {
    const known = presence.known(topology);
    const live = [...letters.keys()].filter((index) => isOurs(letters[index]!));
    const parcels = live.map((index) => toParcels(known, index));
    const sent = await sender.send(`${topic}::copies`, parcels, { deadline: Date.now() + CONFIRM_MS });
    await hooks.crashPoint?.('replay:copy-confirmed');
    const outcomes = letters.map((): SettleOutcome => 'stale');
    for (const [position, index] of live.entries()) {
      // Without a confirm it goes back when the scan is left; and if the original cannot be removed, it is in both places.
      const done = sent[position]!.kind === 'confirmed' && remove(letters[index]!);
      outcomes[index] = done ? 'settled' : 'unknown';
    }
    return outcomes;
  }

  return {
    sorted: false,
    scan,
    count,
    async discard(letters) {
      return letters.map((letter) => (remove(letter) ? 'settled' : 'stale'));
    },
    replay: (letters, marks) =>
      move(letters, (known, index) => {
        const { message } = letters[index]!.handle as LetterHandle;
        const properties = toCopy(message.properties, marks);
        return toParcel(letters[index]!, known, { body: message.content, properties });
      }),
    replace: (replacements) =>
      move(
        replacements.map(({ letter }) => letter),
        (known, index) => {
          const { letter, message, marks } = replacements[index]!;
          const { partition, body } = message;
          const properties = toCopy(toProperties(message) as MessageProperties, marks);
          return toParcel(letter, known, { partition, body: Buffer.from(body), properties });
        },
      ),
  };
}

const digestOf = (body: Buffer): string => createHash('sha256').update(body).digest('hex').slice(0, 32);

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
