import * as amqp from 'amqplib';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { Client } from 'pg';
import { run } from './command.ts';
import { installedFolder, releaseOf } from './releases.ts';

/** One value written durably and read back by the client that users of each server have. */
export const clients = {
  rabbitmq: {
    async write(url: string, value: string): Promise<void> {
      const connection = await amqp.connect(url);
      const channel = await connection.createConfirmChannel();
      await channel.assertQueue('kept', { durable: true });
      channel.sendToQueue('kept', Buffer.from(value), { persistent: true });
      await channel.waitForConfirms();
      await connection.close();
    },
    async read(url: string): Promise<string | undefined> {
      const connection = await amqp.connect(url);
      const channel = await connection.createChannel();
      const message = await channel.get('kept', { noAck: false }); // given back when the connection closes
      await connection.close();
      return message ? message.content.toString() : undefined;
    },
  },
  kafka: {
    async write(url: string, value: string): Promise<void> {
      const client = kafka(url);
      const admin = client.admin();
      await admin.connect();
      await admin.createTopics({ topics: [{ topic: 'kept' }], waitForLeaders: true });
      await admin.disconnect();
      const producer = client.producer();
      await producer.connect();
      await producer.send({ topic: 'kept', acks: -1, messages: [{ value }] });
      await producer.disconnect();
    },
    async read(url: string): Promise<string | undefined> {
      const consumer = kafka(url).consumer({ groupId: crypto.randomUUID() });
      await consumer.connect();
      await consumer.subscribe({ topic: 'kept', fromBeginning: true });
      const { promise, resolve } = Promise.withResolvers<string | undefined>();
      await consumer.run({ eachMessage: async ({ message }) => resolve(message.value?.toString()) });
      const value = await promise;
      await consumer.disconnect();
      return value;
    },
  },
  redis: {
    async write(url: string, value: string): Promise<void> {
      await withRedis(url, (redis) => redis.set('kept', value));
    },
    async read(url: string): Promise<string | undefined> {
      return (await withRedis(url, (redis) => redis.get('kept'))) ?? undefined;
    },
    async setting(url: string, name: string): Promise<unknown> {
      const reply = (await withRedis(url, (redis) => redis.config('GET', name))) as string[];
      return reply[1];
    },
  },
  postgres: {
    async write(url: string, value: string): Promise<void> {
      await query(url, 'create table kept (value text)');
      await query(url, 'insert into kept values ($1)', [value]);
    },
    async read(url: string): Promise<string | undefined> {
      const [row] = await query(url, 'select value from kept');
      return row?.value;
    },
  },
  mariadb: {
    async write(url: string, value: string): Promise<void> {
      await mariadb(url, `create table kept (value text); insert into kept values ('${value}')`);
    },
    async read(url: string): Promise<string | undefined> {
      return (await mariadb(url, 'select value from kept')).trim();
    },
  },
};

function kafka(url: string): Kafka {
  return new Kafka({ brokers: [new URL(url).host], logLevel: logLevel.NOTHING });
}

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url);
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

async function query(url: string, text: string, values: string[] = []): Promise<{ value: string }[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<{ value: string }>(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** By the command-line client in the server's own Debian root: the project has no MySQL driver. */
async function mariadb(url: string, statement: string): Promise<string> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const login = ['-h', hostname, '-P', port, `-u${username}`, `-p${password}`, pathname.slice(1)];
  const root = installedFolder(releaseOf('mariadb'));
  return await run('chroot', [root, 'mariadb', '--no-defaults', ...login, '-N', '-e', statement]);
}
