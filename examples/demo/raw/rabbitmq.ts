import { type ChannelModel, connect } from 'amqplib';
import { partitionOf } from 'holdfast';
import { flightReported, type GroupName, PARTITIONS } from '../topics.ts';
import type { FoundLetter, RawBroker } from './raw-broker.ts';

/** The server, by amqplib. */
export async function openRabbitmq(url: string): Promise<RawBroker> {
  const connection = await connect(url);
  const confirming = await connection.createConfirmChannel();
  const { name } = flightReported;

  return {
    async add({ id, key, body }) {
      const properties = { persistent: true, mandatory: true, messageId: id, headers: { 'hf-key': key } };
      confirming.publish(name, `normal.${partitionOf(key, PARTITIONS)}`, body, properties);
      await confirming.waitForConfirms();
    },
    async left(group) {
      let count = 0;
      for (const queue of queuesOf(group)) count += await ready(connection, queue);
      return count;
    },
    dead: (group) => lettersIn(connection, `${name}:${group}:dead`),
    close: () => connection.close(),
  };
}

/** Of a queue that may not exist yet; asking for one that does not closes the channel, so each question has its own. */
async function ready(connection: ChannelModel, queue: string): Promise<number> {
  const channel = await connection.createChannel();
  channel.on('error', () => undefined);
  try {
    return (await channel.checkQueue(queue)).messageCount;
  } catch {
    return 0;
  } finally {
    await channel.close().catch(() => undefined);
  }
}

export async function lettersIn(connection: ChannelModel, queue: string): Promise<readonly FoundLetter[]> {
  const letters: FoundLetter[] = [];
  const channel = await connection.createChannel();
  for (let count = await ready(connection, queue); count > 0; count -= 1) {
    const letter = await channel.get(queue);
    if (letter === false) break;
    const { messageId, headers } = letter.properties;
    letters.push({
      id: String(messageId),
      reason: String(headers?.['hf-reason']),
      attempts: Number(headers?.['hf-attempts']),
      body: letter.content.toString(),
    });
  }
  // What was not acknowledged goes back to the queue.
  await channel.close();
  return letters;
}

/** The group's queues: of the ordered one a queue per shard; then its ladder of delayed retries. */
function queuesOf(group: GroupName): readonly string[] {
  const base = `${flightReported.name}:${group}`;
  const shards = Array.from({ length: PARTITIONS }, (_, shard) => `${base}:${shard}`);
  const rungs = [250, 500, 1_000, 2_000].map((ms) => `${base}:retry:${ms}`);
  return [...(group === 'board' ? shards : [base]), ...rungs];
}
