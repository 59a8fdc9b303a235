import { randomUUID } from 'node:crypto';
import amqp from 'amqplib';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { afterEach, describe, expect, it } from 'vitest';
import { kafka } from '../../adapters/kafka/index.ts';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import { redis } from '../../adapters/redis/index.ts';
import { type Client, connect, defineTopic, type Message, type Topic } from '../../src/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { urlOf } from './conformance-fixture.ts';

interface Order {
  readonly total: number;
}
type Raw = Readonly<Record<string, string>>;

const urls = { rabbitmq: urlOf('rabbitmq'), kafka: urlOf('kafka'), redis: urlOf('redis') };
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Wire {
  readonly make: (wire: 'lean' | 'cloudevents') => BrokerAdapter;
  /** All attributes of the first message of a group that nobody consumes, as another client sees them. */
  readonly read: (topic: string) => Promise<Raw>;
  readonly prefix: string;
  /** Where the protocol has the content type. */
  readonly contentType: string;
}

const wires: Record<keyof typeof urls, Wire> = {
  rabbitmq: {
    make: (wire) => rabbitmq({ url: urls.rabbitmq, wire }),
    async read(topic) {
      const connection = await amqp.connect(urls.rabbitmq);
      cleanups.push(() => connection.close());
      const channel = await connection.createChannel();
      const message = await channel.get(`${topic}:raw`, { noAck: true });
      if (message === false) throw new Error('nothing there');
      return {
        ...(message.properties.headers as Raw | undefined),
        contentType: message.properties.contentType as string,
      };
    },
    prefix: 'cloudEvents:',
    contentType: 'contentType',
  },
  kafka: {
    make: (wire) => kafka({ brokers: urls.kafka, wire }),
    async read(topic) {
      const client = new Kafka({ brokers: [urls.kafka.replace('kafka://', '')], logLevel: logLevel.NOTHING });
      const consumer = client.consumer({ groupId: `raw-${randomUUID()}` });
      await consumer.connect();
      cleanups.push(() => consumer.disconnect());
      await consumer.subscribe({ topic, fromBeginning: true });
      return new Promise((resolve) => {
        void consumer.run({
          async eachMessage({ message }) {
            const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]);
            resolve({ ...(Object.fromEntries(headers) as Raw), recordKey: String(message.key) });
          },
        });
      });
    },
    prefix: 'ce_',
    contentType: 'content-type',
  },
  redis: {
    make: (wire) => redis({ url: urls.redis, wire }),
    async read(topic) {
      const client = new Redis(urls.redis, { protocol: 2 });
      cleanups.push(() => client.disconnect());
      const [[, fields]] = (await client.xrange(`hf:{${topic}}:raw:normal`, '-', '+')) as [[string, string[]]];
      return Object.fromEntries(
        fields.flatMap((name, index) => (index % 2 === 0 ? [[name, fields[index + 1]!] as const] : [])),
      );
    },
    prefix: 'ce_',
    contentType: 'content-type',
  },
};

async function open(adapter: BrokerAdapter, source = 'shop'): Promise<Client> {
  const client = await connect({ adapter, source });
  cleanups.push(() => client.close({ drainMs: 0 }));
  return client;
}

const newTopic = (): Topic<Order> =>
  defineTopic<Order>(`ce-${randomUUID().slice(0, 8)}`, { groups: { raw: {}, g: {} } });

describe.each(Object.keys(wires) as (keyof typeof wires)[])('CloudEvents on %s', (name) => {
  const { make, read, prefix, contentType } = wires[name];

  it('are on the wire in binary mode, as the protocol’s binding has them', async () => {
    const topic = newTopic();
    const client = await open(make('cloudevents'));
    const before = Date.now();
    await client.publish(topic, { total: 10 }, { id: 'order-1', key: 'k 1', headers: { trace: 't' } });
    const raw = await read(topic.name);
    const attributes = Object.fromEntries(
      Object.entries(raw).flatMap(([name, value]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
      ),
    );
    expect(attributes).toEqual({
      specversion: '1.0',
      id: 'order-1',
      source: 'shop',
      type: topic.name,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      partitionkey: 'k 1',
    });
    expect(Date.parse(attributes.time!)).toBeGreaterThanOrEqual(before);
    expect(raw[contentType]).toBe('application/json');
    if (name === 'kafka') expect(raw.recordKey).toBe('k 1');
    // What CloudEvents says is said once.
    expect(Object.keys(raw).filter((each) => each.startsWith('hf-') || each === 'id' || each === 'key')).toEqual([]);
  });

  it('have a source that is a URI reference, whatever the client’s is', async () => {
    const topic = newTopic();
    const client = await open(make('cloudevents'), 'shop floor/2 é');
    await client.publish(topic, { total: 10 });
    expect((await read(topic.name))[`${prefix}source`]).toBe('shop%20floor/2%20%C3%A9');
  });

  it('are read back as the lean form is: first, retried, dead-lettered and replayed', async () => {
    const topic = newTopic();
    const seen: Record<string, Message<Order>[]> = { lean: [], cloudevents: [] };
    for (const wire of ['lean', 'cloudevents'] as const) {
      const client = await open(make(wire), 'shop floor/2 é');
      await client.publish(
        topic,
        { total: 10 },
        { id: wire, key: 'kéy', dedupeKey: `d-${wire}`, headers: { trace: 't' }, expiresInMs: 600_000 },
      );
    }
    const reader = await open(make('lean'));
    const letters = reader.deadLetters(topic, 'g');
    await reader.consume(topic, { group: 'g', retry: { immediate: { retries: 0 }, delays: [1] } }, (message) => {
      seen[message.id]!.push(message);
      if (seen[message.id]!.length < 3) throw new Error('not yet');
    });
    await expect.poll(() => letters.count(), { timeout: 30_000 }).toBe(2);
    for await (const { id, key, headers } of letters.list()) {
      expect(Object.keys(seen)).toContain(id);
      expect({ key, headers }).toEqual({ key: 'kéy', headers: { trace: 't' } });
    }
    await letters.replay();
    await expect.poll(() => [seen.lean!.length, seen.cloudevents!.length], { timeout: 30_000 }).toEqual([3, 3]);
    const plain = ({ id: _, dedupeKey, publishedAt, ...rest }: Message<Order>) => ({
      ...rest,
      dedupeKey: dedupeKey?.replace(/-.*/, ''),
      published: Math.abs(publishedAt.getTime() - Date.now()) < 120_000,
    });
    expect(seen.cloudevents!.map(plain)).toEqual(seen.lean!.map(plain));
    expect(seen.cloudevents![0]).toMatchObject({ source: 'shop floor/2 é', key: 'kéy', dedupeKey: 'd-cloudevents' });
    expect(new Set(seen.cloudevents!.map(({ publishedAt }) => publishedAt.getTime())).size).toBe(1);
  });

  it('are asked for by a name that is checked', () => {
    expect(() => make('cloudevent' as 'cloudevents')).toThrow(/wire.*'lean' or 'cloudevents'/);
  });
});
