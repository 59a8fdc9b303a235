import { createHash } from 'node:crypto';
import type { AdapterHooks, Delivery, Priority, Receive, Source, Subscription, Topology } from '../../src/port.ts';
import type { Link } from './connection.ts';
import { copies } from './copies.ts';
import { type Handle, toDelivery } from './delivery.ts';
import { adapterError, asError, isNotFound, isTransient } from './errors.ts';
import { waitLeftMs } from './headers.ts';
import type { Presence } from './presence.ts';
import { type QueueChannel, queueChannel } from './queue-channel.ts';
import type { Sender } from './sender.ts';
import { settlements } from './settle.ts';
import { groupOf, placesOf } from './topology.ts';

/** RabbitMQ 4.3 caps the prefetch of a quorum queue here. */
const MOST_PREFETCH = 2_000;
/**
 * What RabbitMQ delivers ahead of an ordered shard; a constant of this version. Seen on 4.0: what goes back to the queue
 * goes behind what went back before it. If a consumer could take only a part of what its predecessor gave back, and then
 * died, that part would be overtaken by the rest.
 */
const ORDERED_PREFETCH = 100;
/** How long `subscribe` bridges a broker that is just restarting. */
const START_PATIENCE_MS = 10_000;

export interface ConsumeContext {
  readonly hooks: AdapterHooks;
  readonly link: Link;
  readonly presence: Presence;
  readonly sender: Sender;
  readonly nextEpoch: () => number;
}

/** Consumes every queue of the group, each on a channel of its own. */
export async function subscribe(
  context: ConsumeContext,
  subscription: Subscription,
  receive: Receive,
): Promise<Source> {
  const { hooks, link, presence } = context;
  const topology = await declared(presence, subscription);
  const group = groupOf(topology, subscription.group);
  if (group.ordered !== subscription.ordered) {
    const declared = group.ordered ? 'ordered' : 'unordered';
    throw adapterError(
      'topology-conflict',
      `group "${group.name}" of topic "${topology.topic}" is declared ${declared}`,
    );
  }
  // Before the first message: a group that cannot dead-letter would find out with a letter in hand.
  await patiently(() => presence.dead(topology, group.name));
  const arrivals = inbound(receive);
  /** A retry that is not due yet, because its delay is longer than the rungs make up, goes round once more unseen. */
  function receiveOrMoveOn(handle: Handle): void {
    const delivery = toDelivery(handle);
    const delayMs = waitLeftMs(handle.message.properties);
    if (delayMs <= 0) arrivals.add(delivery);
    else {
      settler([{ kind: 'retry', delivery, delayMs, marks: delivery.message.marks }]).catch((error: unknown) =>
        warn('copy-failed', asError(error).message),
      );
    }
  }
  const warn = (code: string, detail: string): void => hooks.emit({ type: 'warning', code, detail });
  const priorities = group.ordered ? preferences(topology.partitions, hooks.instance) : [];
  const channels = placesOf(topology, group).map((place) => {
    const owner: QueueChannel = queueChannel({
      link,
      place,
      ordered: group.ordered,
      most: subscription.prefetch,
      prefetch: group.ordered ? ORDERED_PREFETCH : Math.min(subscription.prefetch, MOST_PREFETCH),
      priority: place.shard === undefined ? undefined : priorities[place.shard],
      nextEpoch: context.nextEpoch,
      deliver: (generation, message) => receiveOrMoveOn({ owner, generation, message }),
      revoked: arrivals.revoke,
      redeclare: () => presence.declare(topology),
      warn,
    });
    return owner;
  });
  let stopped = false;
  const paused = new Set<Priority>();

  const settler = settlements({
    ordered: group.ordered,
    isPaused: (lane) => paused.has(lane),
    copies: copies({ ...context, topology, group: group.name }),
  });

  const source: Source = {
    settle: settler,
    // RabbitMQ has no leases: a delivery is ours while its channel lives.
    async extend() {},
    pause(lane) {
      for (const channel of of(channels, lane)) {
        paused.add(channel.place.lane);
        channel.pause();
      }
    },
    resume(lane) {
      for (const channel of of(channels, lane)) {
        paused.delete(channel.place.lane);
        channel.resume();
      }
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      await Promise.all(channels.map((channel) => channel.stop()));
    },
  };

  try {
    await start(channels);
  } catch (error) {
    await source.stop();
    throw error;
  }
  // The caller has the source in hand by then.
  setImmediate(arrivals.open);
  return source;
}

/** The topic with this group, which is declared now if nobody has. */
async function declared(presence: Presence, { topology, group, ordered }: Subscription): Promise<Topology> {
  const known = presence.known(topology);
  if (known.groups.some(({ name }) => name === group)) return known;
  const wider = { ...known, groups: [...known.groups, { name: group, ordered }] };
  await presence.declare(wider);
  return wider;
}

/** Again and again while the broker is not there, or has just come back. */
async function patiently(work: () => Promise<void>): Promise<void> {
  const until = Date.now() + START_PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > until || !isTransient(error) || isNotFound(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

async function start(channels: readonly QueueChannel[]): Promise<void> {
  const starting = channels.map((channel) => patiently(() => channel.start()));
  const failed = (await Promise.allSettled(starting)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function of(channels: readonly QueueChannel[], lane: Priority | undefined): readonly QueueChannel[] {
  return lane === undefined ? channels : channels.filter((channel) => channel.place.lane === lane);
}

/**
 * One priority per shard, by which RabbitMQ hands a shard to the consumer it prefers (S19). Each process ranks the shards
 * in an order of its own; where two rank a shard alike, one of them is preferred at even ranks, the other at odd ones. So
 * of two processes none is preferred everywhere, which independent numbers would be now and then. The same for all
 * lanes of a shard, which are owned together.
 */
export function preferences(shards: number, instance: string): readonly number[] {
  const hash = (text: string): number => createHash('sha256').update(text).digest().readUInt32BE();
  const hashes = Array.from({ length: shards }, (_, shard) => hash(`${shard} ${instance}`));
  const ranked = hashes.toSorted((a, b) => a - b);
  const width = Math.floor(0x7fff_ffff / shards);
  const tie = hash(instance) % width;
  return hashes.map((own) => {
    const rank = ranked.indexOf(own);
    return rank * width + (rank % 2 === 0 ? tie : width - 1 - tie);
  });
}

/** Hands over in one batch what one read of the socket brought, and nothing before `open`. */
function inbound(receive: Receive): { open(): void; add(delivery: Delivery): void; revoke(epoch: number): void } {
  let waiting: Delivery[] = [];
  let opened = false;
  function flush(): void {
    const batch = waiting.filter(({ handle }) => !(handle as Handle).generation.dead);
    waiting = [];
    if (batch.length > 0) receive.deliver(batch);
  }
  return {
    open() {
      opened = true;
      flush();
    },
    add(delivery) {
      // amqplib parses all that has arrived before the next microtask runs.
      if (opened && waiting.length === 0) queueMicrotask(flush);
      waiting.push(delivery);
    },
    revoke: (epoch) => receive.revoked(epoch),
  };
}
