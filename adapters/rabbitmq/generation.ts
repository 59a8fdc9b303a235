import type { Channel, ConsumeMessage } from 'amqplib';

/** One life of a channel. What was delivered by it can be settled by it alone. */
export interface Generation {
  readonly epoch: number;
  readonly channel: Channel;
  /** Delivery tags that the core holds, ascending. */
  readonly unsettled: Set<number>;
  /** Deliveries beyond what the core may hold, or that arrived while paused. */
  readonly held: ConsumeMessage[];
  consumerTag: string | undefined;
  /** Some of it goes back to the queue when the channel closes. */
  givesBack: boolean;
  dead: boolean;
}

/** Acknowledges, by one frame for the run of lowest tags that leaves nothing below unsettled, else one by one. */
export function acknowledge({ channel, unsettled }: Generation, tags: readonly number[]): void {
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
  if (run > 0) channel.ack(byTag(last), run > 1);
  for (const tag of wanted) {
    if (unsettled.delete(tag)) channel.ack(byTag(tag));
  }
}

/** Gives back, in any order. */
export function requeue({ channel, unsettled }: Generation, tags: readonly number[]): void {
  for (const tag of tags) {
    if (unsettled.delete(tag)) channel.nack(byTag(tag), false, true);
  }
}

/** amqplib takes messages where it needs their tags alone. */
function byTag(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
