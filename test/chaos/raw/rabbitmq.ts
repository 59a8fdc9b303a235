import { connect } from 'amqplib';
import { lettersIn } from '../../../examples/demo/raw/rabbitmq.ts';
import { topicOf } from '../topics.ts';
import { checked, type RawBroker } from './raw-broker.ts';

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
    dead: async (group) => (await lettersIn(connection, `${topicOf(group)}:${group}:dead`)).map(checked),
    close: () => connection.close(),
  };
}
