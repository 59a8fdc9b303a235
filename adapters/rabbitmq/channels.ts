import type { Channel, ChannelModel } from 'amqplib';
import { within } from './bell.ts';

/** A broker that is stuck on the channel's last statement does not answer. */
const CLOSE_MS = 2_000;

/**
 * Closes a channel and waits until it is closed, in whatever way, but not for long. amqplib's own promise is left
 * hanging when the connection is lost before the broker answers.
 */
export function closeChannel(channel: Channel): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, CLOSE_MS);
    channel.once('close', done);
    // Rejected where it is closed already.
    channel.close().then(done, done);
  });
}

/** Acknowledgements that RabbitMQ sends on to a quorum queue at once; further ones wait in its channel. */
const UNHEARD_ACKS = 30;

/** Whether so many acknowledgements were sent that the end of their channel could lose some. */
export function needsFlush(frames: number): boolean {
  return frames > UNHEARD_ACKS;
}

/**
 * Waits until the queue has heard of every acknowledgement of this channel. Seen on 4.0: of 300 that were sent one by one,
 * the close of the channel lost 267, and their messages came again.
 *
 * A second consumer does it, whose registration goes the same way. Others are preferred to it; at most it gets one message,
 * which goes back when the channel closes.
 */
export async function flushAcks(channel: Channel, queue: string): Promise<void> {
  const flushed = async (): Promise<void> => {
    await channel.prefetch(1, false);
    await channel.consume(queue, () => {}, { consumerTag: 'zz-flush', priority: -1_000 });
  };
  // What fails is a channel that is gone, with all that was on it.
  await within(
    flushed().catch(() => {}),
    CLOSE_MS,
  );
}

/**
 * A channel for statements that may fail: RabbitMQ closes the channel of a failed one, so the next gets a new one and
 * no other traffic is touched.
 */
export interface Throwaway {
  /** The broker's major version. */
  readonly major: number;
  run<R>(statement: (channel: Channel) => Promise<R>): Promise<R>;
}

export async function onThrowaway<R>(model: ChannelModel, work: (throwaway: Throwaway) => Promise<R>): Promise<R> {
  let open: Channel | undefined;
  const run: Throwaway['run'] = async (statement) => {
    if (open === undefined) {
      const channel = await model.createChannel();
      channel.on('error', () => {});
      channel.on('close', () => {
        if (open === channel) open = undefined;
      });
      open = channel;
    }
    return await statement(open);
  };
  try {
    return await work({ major: versionOf(model).major, run });
  } finally {
    if (open !== undefined) await closeChannel(open);
  }
}

export function versionOf(owner: Pick<Channel, 'connection'>): { readonly major: number; readonly minor: number } {
  const [major = 4, minor = 0] = owner.connection.serverProperties.version.split('.').map(Number);
  return { major, minor };
}
