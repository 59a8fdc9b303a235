import type { Channel, ConsumeMessage } from 'amqplib';
import { closeChannel, flushAcks, needsFlush } from './channels.ts';

/** A queue has heard of what was sent so long ago. */
const HEARD_MS = 2_000;

/** One life of a channel. What was delivered by it can be settled by it alone. */
export interface Generation {
  readonly epoch: number;
  readonly channel: Channel;
  /** Delivery tags that the core holds, ascending. */
  readonly unsettled: Set<number>;
  /** Deliveries beyond what the core may hold, or that arrived while paused. */
  readonly held: ConsumeMessage[];
  /** Acknowledgements sent without a pause in which the queue surely heard of them. */
  frames: number;
  lastFrameAt: number;
  consumerTag: string | undefined;
  /** Some of it goes back to the queue when the channel closes. */
  givesBack: boolean;
  dead: boolean;
}

/** Acknowledges, by one frame for the run of lowest tags that leaves nothing below unsettled, else one by one. */
export function acknowledge(generation: Generation, tags: readonly number[]): void {
  const { unsettled } = generation;
  const wanted = new Set(tags);
  let run = 0;
  let last = 0;
  for (const tag of unsettled) {
    if (!wanted.has(tag)) break;
    wanted.delete(tag);
    unsettled.delete(tag);
    last = tag;
    run++;
  }
  if (run > 0) counted(generation).ack(byTag(last), run > 1);
  for (const tag of wanted) {
    if (unsettled.delete(tag)) counted(generation).ack(byTag(tag));
  }
}

/** Gives back, in any order. */
export function requeue(generation: Generation, tags: readonly number[]): void {
  for (const tag of tags) {
    if (generation.unsettled.delete(tag)) counted(generation).nack(byTag(tag), false, true);
  }
}

/** Closes the channel, which gives back in order what is unsettled, when the queue has heard of what was settled. */
export async function retire(generation: Generation, queue: string): Promise<void> {
  const { channel, frames, lastFrameAt } = generation;
  if (needsFlush(frames) && Date.now() - lastFrameAt < HEARD_MS) await flushAcks(channel, queue);
  await closeChannel(channel);
}

function counted(generation: Generation): Channel {
  const now = Date.now();
  generation.frames = now - generation.lastFrameAt < HEARD_MS ? generation.frames + 1 : 1;
  generation.lastFrameAt = now;
  return generation.channel;
}

/** amqplib takes messages where it needs their tags alone. */
function byTag(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
