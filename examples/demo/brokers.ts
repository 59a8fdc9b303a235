import type { BrokerAdapter } from 'holdfast';
import type { RawBroker } from './raw/raw-broker.ts';
import type { Setup } from './setup.ts';

/** holdfast's way to the broker under test. */
export async function adapterOf({ broker, brokerUrl }: Setup): Promise<BrokerAdapter> {
  switch (broker) {
    case 'sqlite':
      return (await import('holdfast/sqlite')).sqlite({ path: brokerUrl });
    case 'rabbitmq':
      return (await import('holdfast/rabbitmq')).rabbitmq({ url: brokerUrl });
    case 'kafka':
      return (await import('holdfast/kafka')).kafka({ brokers: brokerUrl, sessionTimeoutMs: 6_000 });
    case 'redis':
      return (await import('holdfast/redis')).redis({ url: brokerUrl });
  }
}

/** The way past holdfast: the broker's own client. */
export async function openRaw({ broker, brokerUrl }: Setup): Promise<RawBroker> {
  switch (broker) {
    case 'sqlite':
      return (await import('./raw/sqlite.ts')).openSqlite(brokerUrl);
    case 'rabbitmq':
      return (await import('./raw/rabbitmq.ts')).openRabbitmq(brokerUrl);
    case 'kafka':
      return (await import('./raw/kafka.ts')).openKafka(brokerUrl);
    case 'redis':
      return (await import('./raw/redis.ts')).openRedis(brokerUrl);
  }
}
