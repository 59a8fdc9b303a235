/** Which adapter a URL means: the one place in the core that names adapters (S36). Each is loaded only when asked for. */

import { HoldfastError, redact } from './errors.ts';
import { nearest } from './options.ts';
import type { BrokerAdapter } from './port.ts';

const SCHEMES: Readonly<Record<string, (url: string) => Promise<BrokerAdapter>>> = {
  amqp: async (url) => (await import('../adapters/rabbitmq/index.ts')).rabbitmq({ url }),
  amqps: async (url) => (await import('../adapters/rabbitmq/index.ts')).rabbitmq({ url }),
  kafka: async (url) => (await import('../adapters/kafka/index.ts')).kafka({ brokers: addresses(url) }),
  redis: async (url) => (await import('../adapters/redis/index.ts')).redis({ url }),
  rediss: async (url) => (await import('../adapters/redis/index.ts')).redis({ url }),
  sqlite: async (url) => (await import('../adapters/sqlite/index.ts')).sqlite({ path: pathOf(url) }),
  memory: async () => (await import('../adapters/memory/index.ts')).memory(),
};

export async function adapterFromUrl(url: string): Promise<BrokerAdapter> {
  const scheme = /^([a-z]+):/i.exec(url)?.[1]?.toLowerCase();
  const make = scheme === undefined ? undefined : SCHEMES[scheme];
  if (make === undefined) {
    const names = Object.keys(SCHEMES);
    const near = scheme === undefined ? undefined : nearest(scheme, names);
    throw new HoldfastError(
      'invalid-option',
      `connect: "${redact(url).slice(0, 60)}" has no known scheme${near === undefined ? '' : `; did you mean "${near}:"?`} Known are ${names.map((name) => `${name}:`).join(' ')}`,
    );
  }
  return make(url);
}

/** `kafka://a:9092,b:9092` → its addresses. */
const addresses = (url: string): readonly string[] =>
  url
    .replace(/^kafka:\/\//i, '')
    .replace(/\/.*$/, '')
    .split(',');

/** `sqlite:dev.db`, `sqlite:./dev.db` and `sqlite:///var/dev.db` → the path. */
const pathOf = (url: string): string => decodeURIComponent(url.replace(/^sqlite:(\/\/)?/i, '')) || 'holdfast.db';
