import type { ConsumeMessage } from 'amqplib';
import { backoffMs, bell } from './bell.ts';
import type { Link } from './connection.ts';
import { missing } from './declare.ts';
import { asError, isNotFound, isTransient } from './errors.ts';
import { acknowledge, type Generation, requeue, retire } from './generation.ts';
import type { Place } from './topology.ts';

/** Consumes one queue on a channel of its own, and opens the next one when that dies. */
export interface QueueChannel {
  readonly place: Place;
  /** Opens the first channel and consumes. */
  start(): Promise<void>;
  /** Acknowledges, by runs where no lower delivery stays unsettled. Answers false where the channel is gone. */
  ack(generation: Generation, tags: readonly number[]): boolean;
  /** Back to the queue, in any order; not for ordered groups. */
  requeue(generation: Generation, tags: readonly number[]): boolean;
  /** Gives everything that is unsettled back, in order, by closing the channel, and opens a new one. */
  restart(generation: Generation): void;
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export interface QueueChannelOptions {
  readonly link: Link;
  readonly place: Place;
  readonly ordered: boolean;
  /** Deliveries that the core may hold. */
  readonly most: number;
  /** Deliveries that RabbitMQ may send; what is beyond `most` waits here. */
  readonly prefetch: number;
  /** Which of several consumers RabbitMQ prefers; undefined is no preference. */
  readonly priority: number | undefined;
  readonly nextEpoch: () => number;
  readonly deliver: (generation: Generation, message: ConsumeMessage) => void;
  readonly revoked: (epoch: number) => void;
  /** The queue is gone: creates it again, if we may. */
  readonly redeclare: () => Promise<void>;
  readonly warn: (code: string, detail: string) => void;
}

const OPEN_WAIT_MS = 5_000;

export function queueChannel(options: QueueChannelOptions): QueueChannel {
  const { link, place, ordered, most, prefetch, warn } = options;
  const stopping = bell();
  let current: Generation | undefined;
  let stopped = false;
  let paused = false;
  let lastError: Error | undefined;

  async function open(): Promise<void> {
    const model = await link.opened(OPEN_WAIT_MS);
    const channel = await model.createChannel();
    const generation: Generation = {
      epoch: options.nextEpoch(),
      channel,
      unsettled: new Set(),
      held: [],
      frames: 0,
      lastFrameAt: 0,
      consumerTag: undefined,
      givesBack: false,
      dead: false,
    };
    channel.on('error', (error) => {
      lastError = error;
    });
    let up = false;
    channel.on('close', () => {
      if (up) ended(generation);
      else void abandon(generation);
    });
    current = generation;
    try {
      // Per consumer; RabbitMQ closes the connection for a channel-wide prefetch on a quorum queue.
      await channel.prefetch(prefetch, false);
      await reconcile(generation);
      if (generation.dead) throw new Error('channel closed');
    } catch (error) {
      void abandon(generation);
      throw lastError ?? error;
    }
    up = true;
    if (stopped) void abandon(generation);
  }

  /** Starts or cancels the consumer as pause and resume want it. An ordered consumer is never cancelled (S20). */
  async function reconcile(generation: Generation): Promise<void> {
    const { channel } = generation;
    const wanted = ordered || !paused;
    if (generation.dead || wanted === (generation.consumerTag !== undefined)) return;
    if (!wanted) {
      const tag = generation.consumerTag!;
      generation.consumerTag = undefined;
      await channel.cancel(tag);
      return;
    }
    // The tag is ours so that it is known before the first delivery.
    generation.consumerTag = `${generation.epoch}.${Date.now().toString(36)}`;
    await channel.consume(
      place.queue,
      (message) => {
        if (message !== null) arrived(generation, message);
        else void cancelled(generation);
      },
      { consumerTag: generation.consumerTag, ...(options.priority !== undefined && { priority: options.priority }) },
    );
  }

  function arrived(generation: Generation, message: ConsumeMessage): void {
    if (generation.dead) return;
    const full = generation.unsettled.size >= most || generation.held.length > 0;
    if (full || (paused && ordered)) generation.held.push(message);
    else pass(generation, message);
  }

  function pass(generation: Generation, message: ConsumeMessage): void {
    generation.unsettled.add(message.fields.deliveryTag);
    options.deliver(generation, message);
  }

  function release(generation: Generation): void {
    while (generation.held.length > 0 && generation.unsettled.size < most && !(paused && ordered)) {
      pass(generation, generation.held.shift()!);
    }
  }

  /** RabbitMQ ended the consumer: its queue was deleted or moved, or a delivery was held for too long. */
  async function cancelled(generation: Generation): Promise<void> {
    if (generation.dead) return;
    warn('consumer-cancelled', `RabbitMQ cancelled the consumer of queue "${place.queue}"`);
    await abandon(generation);
    await reopen(true);
  }

  function ended(generation: Generation): void {
    if (generation.dead) return;
    void abandon(generation);
    if (stopped) return;
    if (lastError !== undefined) warn('consumer-channel-closed', `queue "${place.queue}": ${lastError.message}`);
    void reopen(false);
  }

  /** Nothing more comes of it, and what it delivered is no longer ours. */
  async function abandon(generation: Generation): Promise<void> {
    if (generation.dead) return;
    generation.dead = true;
    generation.held.length = 0;
    if (current === generation) current = undefined;
    options.revoked(generation.epoch);
    await retire(generation, place.queue);
  }

  async function reopen(gone: boolean): Promise<void> {
    let absent = gone;
    for (let failures = 0; !stopped && current === undefined; failures++) {
      try {
        if (absent) await options.redeclare();
        lastError = undefined;
        await open();
        return;
      } catch (error) {
        absent = isNotFound(error);
        if (!absent && !isTransient(error)) warn('consume-failed', `queue "${place.queue}": ${asError(error).message}`);
        if (!absent || failures > 0) await stopping.wait(backoffMs(failures));
      }
    }
  }

  function settle(generation: Generation, work: () => void): boolean {
    if (generation.dead) return false;
    try {
      work();
    } catch {
      // amqplib throws when the channel closed and has not said so yet.
      return false;
    }
    release(generation);
    return true;
  }

  const self: QueueChannel = {
    place,
    async start() {
      try {
        await open();
      } catch (error) {
        if (!isNotFound(error)) throw error;
        await options.redeclare();
        await open().catch((second) => {
          throw isNotFound(second) ? missing(`queue "${place.queue}"`) : second;
        });
      }
    },
    ack: (generation, tags) => settle(generation, () => acknowledge(generation, tags)),
    requeue: (generation, tags) => settle(generation, () => requeue(generation, tags)),
    restart(generation) {
      if (generation.dead) return;
      void abandon(generation).then(() => reopen(false));
    },
    pause() {
      paused = true;
      if (current !== undefined) void reconcile(current).catch(() => {});
    },
    resume() {
      if (!paused) return;
      paused = false;
      const generation = current;
      if (generation === undefined) return;
      if (generation.givesBack) {
        self.restart(generation);
        return;
      }
      void reconcile(generation).catch(() => {});
      release(generation);
    },
    async stop() {
      stopped = true;
      stopping.ring();
      const generation = current;
      if (generation === undefined) return;
      generation.dead = true;
      current = undefined;
      // Closing gives back in order; cancelling first would let later messages overtake (S20).
      await retire(generation, place.queue);
    },
  };
  return self;
}
