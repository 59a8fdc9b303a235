import type { ConsumeMessage } from 'amqplib';
import type { Delivery } from '../../src/port.ts';
import type { Generation } from './generation.ts';
import { toIncoming } from './headers.ts';
import type { QueueChannel } from './queue-channel.ts';

/**
 * How often a message may have come back before it is a suspect. Up to 4.2 the broker counts what was given back at a
 * deployment, or lost with a connection, like a consumer's death: were each of those a suspect, every deployment would
 * send a prefetch of messages one by one. What killed its process twice is told from them by its count.
 */
export const UNCOUNTED_CRASHES = 2;

/** `Delivery.handle`. */
export interface Handle {
  readonly owner: QueueChannel;
  readonly generation: Generation;
  readonly message: ConsumeMessage;
}

export function toDelivery(handle: Handle): Delivery {
  const { owner, generation, message } = handle;
  const { queue, lane, shard = 0 } = owner.place;
  const { deliveryTag, redelivered } = message.fields;
  const count: unknown = message.properties.headers?.['x-delivery-count'];
  return {
    message: toIncoming(message.properties, message.content),
    lane,
    shard,
    epoch: generation.epoch,
    redelivered,
    suspect: redelivered && (typeof count === 'number' ? count : 1) >= UNCOUNTED_CRASHES,
    ...(typeof count === 'number' && { deliveries: count }),
    position: `${queue}/${deliveryTag}`,
    handle,
  };
}
