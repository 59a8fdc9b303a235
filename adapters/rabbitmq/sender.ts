import type { ChannelModel, ConfirmChannel, Message, Options } from 'amqplib';
import type { PublishOutcome } from '../../src/port.ts';
import { timeoutMs, within } from './bell.ts';
import type { Link } from './connection.ts';
import { adapterError, asError, isNotFound, replyCode } from './errors.ts';

/** One message on its way to an exchange. Its properties say `mandatory` and `persistent`. */
export interface Parcel {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Buffer;
  readonly properties: Options.Publish;
}

export interface SendLimit {
  /** Epoch milliseconds. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Sender {
  /**
   * Publishes all on the confirm channel of this name, at once, and answers when each is confirmed, returned or refused,
   * or at the deadline. Parcels of one name are published in the order of the calls.
   */
  send(name: string, parcels: readonly Parcel[], limit: SendLimit): Promise<readonly PublishOutcome[]>;
}

/** Longest wait for a connection that is down: longer outages are for the caller's retries and breaker to see. */
const RECONNECT_PATIENCE_MS = 500;
/** More names than this share one channel. */
const MOST_CHANNELS = 256;

const CONFIRMED: PublishOutcome = { kind: 'confirmed' };
const UNROUTABLE: PublishOutcome = { kind: 'unroutable' };

/** A named confirm channel, opened when needed and again after it died. */
interface Slot {
  readonly name: string;
  channel: ConfirmChannel | undefined;
  opening: Promise<void> | undefined;
  /** False while amqplib's buffer is full: `drain` tells when it is not. */
  flowing: boolean;
  error: Error | undefined;
  /** Oldest first: a return names no publish, so it belongs to the oldest that fits. */
  readonly flights: Set<Flight>;
}
interface Flight {
  readonly parcels: readonly Parcel[];
  readonly outcomes: (PublishOutcome | undefined)[];
  left: number;
  finish(): void;
}

export function sender(link: Link, options: { onMissing(name: string, model: ChannelModel): Promise<void> }): Sender {
  const slots = new Map<string, Slot>();

  function slotOf(wanted: string): Slot {
    const name = slots.has(wanted) || slots.size < MOST_CHANNELS ? wanted : '*';
    let slot = slots.get(name);
    if (slot === undefined) {
      slot = {
        name,
        channel: undefined,
        opening: undefined,
        flowing: true,
        error: undefined,
        flights: new Set(),
      };
      slots.set(name, slot);
    }
    return slot;
  }

  async function openChannel(slot: Slot, model: ChannelModel): Promise<void> {
    // What it published to is gone: back first, or the next channel dies of the same.
    if (isNotFound(slot.error)) await options.onMissing(slot.name, model);
    slot.error = undefined;
    const channel = await model.createConfirmChannel();
    channel.on('error', (error) => {
      slot.error = error;
    });
    channel.on('return', (message) => returned(slot, message));
    channel.on('drain', () => {
      slot.flowing = true;
      link.changed.ring();
    });
    channel.on('close', () => {
      if (slot.channel !== channel) return;
      slot.channel = undefined;
      link.changed.ring();
    });
    slot.flowing = true;
    slot.channel = channel;
  }

  /** The slot's channel once it can be written to, or why not by the deadline. */
  async function usable(slot: Slot, { deadline, signal }: SendLimit): Promise<ConfirmChannel | Error> {
    const patience = Math.min(deadline, Date.now() + RECONNECT_PATIENCE_MS);
    for (;;) {
      const model = link.current();
      if (signal?.aborted) return asError(signal.reason);
      if (model !== undefined && !link.isBlocked() && slot.channel !== undefined && slot.flowing) return slot.channel;
      const left = (model === undefined ? patience : deadline) - Date.now();
      if (left <= 0) return notSent(slot, model);
      if (model !== undefined && slot.channel === undefined) {
        slot.opening ??= openChannel(slot, model).finally(() => {
          slot.opening = undefined;
        });
        const opening = slot.opening.then(() => undefined, asError);
        const failed = await within(opening, left);
        if (failed !== undefined && link.current() === model) return failed;
      } else {
        await link.changed.wait(left, signal);
      }
    }
  }

  function notSent(slot: Slot, model: ChannelModel | undefined): Error {
    const cause = link.lastError();
    if (model === undefined) {
      return adapterError(
        'broker-unreachable',
        `not sent: the connection to RabbitMQ is down: ${cause?.message ?? 'closed'}`,
        cause,
      );
    }
    const why = link.isBlocked()
      ? 'RabbitMQ blocks publishers (memory or disk alarm)'
      : 'the connection takes no more data';
    return adapterError('broker-unreachable', `not sent by the deadline: ${why}`, slot.error);
  }

  return {
    async send(name, parcels, limit) {
      const slot = slotOf(name);
      const ready = slot.channel !== undefined && slot.flowing && !link.isBlocked() && limit.deadline > Date.now();
      const channel = ready && !limit.signal?.aborted ? slot.channel! : await usable(slot, limit);
      if (channel instanceof Error) return parcels.map(() => ({ kind: 'rejected', error: channel }));
      return await new Promise((resolve) => fly(slot, channel, { parcels, limit, resolve }));
    },
  };
}

function fly(
  slot: Slot,
  channel: ConfirmChannel,
  work: {
    readonly parcels: readonly Parcel[];
    readonly limit: SendLimit;
    readonly resolve: (outcomes: readonly PublishOutcome[]) => void;
  },
): void {
  const { parcels, limit, resolve } = work;
  const outcomes: (PublishOutcome | undefined)[] = new Array(parcels.length).fill(undefined);
  const late = (): void => {
    const error = adapterError('broker-unreachable', 'RabbitMQ did not confirm by the deadline', limit.signal?.reason);
    const unknown: PublishOutcome = { kind: 'unknown', error };
    finish(outcomes.map((outcome) => outcome ?? unknown));
  };
  const timer = setTimeout(late, timeoutMs(limit.deadline - Date.now()));
  limit.signal?.addEventListener('abort', late);
  const finish = (result: readonly PublishOutcome[]): void => {
    clearTimeout(timer);
    limit.signal?.removeEventListener('abort', late);
    resolve(result);
  };
  // Stays among the flights after its deadline: returns still have to find it.
  const flight: Flight = {
    parcels,
    outcomes,
    left: parcels.length,
    finish() {
      slot.flights.delete(flight);
      finish(outcomes as readonly PublishOutcome[]);
    },
  };
  slot.flights.add(flight);
  const settle = (index: number, outcome: PublishOutcome): void => {
    outcomes[index] ??= outcome;
    if (--flight.left === 0) flight.finish();
  };
  for (const [index, parcel] of parcels.entries()) {
    try {
      const flowing = channel.publish(parcel.exchange, parcel.routingKey, parcel.body, parcel.properties, (error) => {
        settle(index, error ? lost(asError(error), slot, parcel) : CONFIRMED);
      });
      if (!flowing) slot.flowing = false;
    } catch (error) {
      // Nothing was written: the channel is closed, or the message cannot be encoded.
      settle(index, { kind: 'rejected', error });
    }
  }
  if (parcels.length === 0) flight.finish();
}

function returned(slot: Slot, message: Message): void {
  const { exchange, routingKey } = message.fields;
  const { messageId } = message.properties;
  for (const { parcels, outcomes } of slot.flights) {
    for (const [index, parcel] of parcels.entries()) {
      const fits =
        parcel.properties.messageId === messageId && parcel.exchange === exchange && parcel.routingKey === routingKey;
      if (!fits || outcomes[index] !== undefined) continue;
      // The confirm still comes, and changes nothing.
      outcomes[index] = UNROUTABLE;
      return;
    }
  }
}

/** A nack, or a channel that closed under an unconfirmed publish. */
function lost(error: Error, slot: Slot, parcel: Parcel): PublishOutcome {
  const cause = /nack/.test(error.message) ? error : (slot.error ?? error);
  const refused = replyCode(cause) === 403 && cause.message.includes(`exchange '${parcel.exchange}'`);
  if (refused) {
    return {
      kind: 'rejected',
      error: adapterError('access-refused', `no permission to publish to "${parcel.exchange}"`, cause),
    };
  }
  const most = /message size \d+.* max size (\d+)/.exec(cause.message)?.[1];
  if (most !== undefined && parcel.body.length > Number(most)) {
    const message = `${parcel.body.length} bytes are more than the ${most} that this RabbitMQ takes (max_message_size)`;
    return { kind: 'rejected', error: adapterError('message-too-large', message, cause) };
  }
  return { kind: 'unknown', error: cause };
}
