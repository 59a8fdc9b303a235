import type { BrokerAdapter, Outgoing, PublishOutcome } from '../../src/port.ts';
import { adapterError } from './errors.ts';
import { toCloudEvent, toProperties } from './headers.ts';
import type { Presence } from './presence.ts';
import type { Parcel, Sender, SendLimit } from './sender.ts';
import { routingKey } from './topology.ts';

/** Largest body: RabbitMQ 4 closes the channel, with all that is in flight on it, for anything above by default. */
export const MAX_BODY_BYTES: number = 16 * 1024 * 1024;

/** Publishes a batch: messages without delay at once, each delayed one by the topic's ladder. */
export function publish(sender: Sender, presence: Presence, wire: 'lean' | 'cloudevents'): BrokerAdapter['publish'] {
  const properties = wire === 'lean' ? toProperties : toCloudEvent;
  const toParcel = (message: Outgoing): Parcel => ({
    exchange: message.topology.topic,
    routingKey: routingKey(message.lane, message.partition),
    body: toBuffer(message.body),
    properties: properties(message),
  });
  return async (batch, limit) => {
    const first = batch[0];
    if (first === undefined) return [];
    const channel = first.topology.topic;
    if (batch.every(isPlain)) return await sender.send(channel, batch.map(toParcel), limit);

    const plain = batch.filter(isPlain);
    const [sent, delayed] = await Promise.all([
      sender.send(channel, plain.map(toParcel), limit),
      Promise.all(batch.filter((message) => !isPlain(message)).map((message) => publishOdd(message, limit))),
    ]);
    const plainOutcomes = sent[Symbol.iterator]();
    const otherOutcomes = delayed[Symbol.iterator]();
    return batch.map((message) => (isPlain(message) ? plainOutcomes : otherOutcomes).next().value as PublishOutcome);
  };

  /** A message that is delayed, or too large to be sent. */
  async function publishOdd(message: Outgoing, limit: SendLimit): Promise<PublishOutcome> {
    const { body } = message;
    if (body.byteLength > MAX_BODY_BYTES) {
      const error = `${body.byteLength} bytes are more than RabbitMQ takes (${MAX_BODY_BYTES})`;
      return { kind: 'rejected', error: adapterError('message-too-large', error) };
    }
    try {
      return await publishDelayed(message, limit);
    } catch (error) {
      return { kind: 'rejected', error };
    }
  }

  async function publishDelayed(message: Outgoing, limit: SendLimit): Promise<PublishOutcome> {
    const { topology, delayMs } = message;
    const parcel = toParcel(message);
    for (let attempt = 1; ; attempt++) {
      const { exchange, rungs } = await presence.delay(presence.known(topology), undefined, delayMs);
      const parcels = [{ ...parcel, exchange, routingKey: `${parcel.routingKey}.${rungs}` }];
      const [outcome] = await sender.send(`${topology.topic}::delay`, parcels, limit);
      if (outcome!.kind !== 'unroutable') return outcome!;
      // Not a topic without groups, but a rung that somebody deleted.
      presence.forget();
      if (attempt > 1)
        return {
          kind: 'rejected',
          error: adapterError('topology-missing', `the delay queues of "${topology.topic}" are gone`),
        };
    }
  }
}

function isPlain(message: Outgoing): boolean {
  return message.delayMs <= 0 && message.body.byteLength <= MAX_BODY_BYTES;
}

/** The same bytes, not copied. */
export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
