import { connect } from 'amqplib';
import { topicOf } from '../topics.ts';
import { checkIn, type RawBroker, type RawLetter } from './raw-broker.ts';

interface QueueSeen {
  readonly name: string;
  readonly messages?: number;
}

/** The server, by amqplib and its HTTP API (whose counts include what is unacknowledged, and are up to 5 s old). */
export async function openRabbitmq(url: string, managementUrl: string): Promise<RawBroker> {
  const connection = await connect(url);
  connection.on('error', () => undefined);
  const { username, password, origin } = new URL(managementUrl);
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  return {
    async left() {
      const answer = await fetch(`${origin}/api/queues`, { headers: { authorization } });
      if (!answer.ok) throw new Error(`the HTTP API answered ${answer.status}`);
      const queues = ((await answer.json()) as readonly QueueSeen[]).filter(
        ({ name }) => name.startsWith('chaos.') && !name.endsWith(':dead'),
      );
      return new Map(queues.map(({ name, messages = 0 }) => [name, messages]));
    },
    async dead(group) {
      const queue = `${topicOf(group)}:${group}:dead`;
      const letters: RawLetter[] = [];
      const channel = await connection.createChannel();
      for (let count = (await channel.checkQueue(queue)).messageCount; count > 0; count -= 1) {
        const letter = await channel.get(queue);
        if (letter === false) break;
        const { messageId, headers } = letter.properties;
        letters.push({
          id: String(messageId),
          reason: String(headers?.['hf-reason']),
          attempts: Number(headers?.['hf-attempts']),
          check: checkIn(letter.content.toString()),
        });
      }
      // What was not acknowledged goes back to the queue.
      await channel.close();
      return letters;
    },
    close: () => connection.close(),
  };
}
