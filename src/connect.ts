import { randomUUID } from 'node:crypto';
import type { Client } from './client.ts';
import { type Config, environmentOf, isConfig, type OwnSpill } from './config.ts';
import { type ConnectOptions, clientChecks } from './connect-options.ts';
import { createClient } from './create-client.ts';
import { fromAdapter, HoldfastError, textOf } from './errors.ts';
import { adapterEvents, createEmitter } from './events.ts';
import { internalsOf } from './internals.ts';
import { type Check, type Checks, checkOptions } from './options.ts';
import { type SpillSettings, spillSettings } from './outbox/spill-options.ts';
import type { BrokerAdapter } from './port.ts';
import { createPublisher } from './publish/publisher.ts';
import { adapterFromUrl } from './schemes.ts';

const isAdapter: Check = (value) =>
  typeof (value as Partial<BrokerAdapter> | null)?.publish === 'function' &&
  typeof (value as Partial<BrokerAdapter>).subscribe === 'function'
    ? undefined
    : "must be an adapter such as rabbitmq({ url }) from 'holdfast/rabbitmq'";

const CHECKS: Checks = { adapter: isAdapter, ...clientChecks };

/**
 * Opens a client: by options; by a URL, whose scheme picks the adapter (`amqp`, `kafka`, `redis`, `sqlite`, `memory`); or
 * by a config, whose environment is `HOLDFAST_ENV ?? NODE_ENV ?? 'development'`.
 *
 * Throws a TypeError for wrong options, and a HoldfastError with code `broker-unreachable`, `access-refused`,
 * `missing-peer`, `topology-conflict`, `topology-missing` or `config-invalid`.
 */
export async function connect(target: ConnectOptions | string | Config): Promise<Client> {
  if (typeof target === 'string') return open({ adapter: await adapterFromUrl(target) });
  if (!isConfig(target)) return open(target);
  const { client } = await connectConfig(target);
  return client;
}

/** A client with its config's topics declared, and the environment it was made from. */
export async function connectConfig(
  config: Config,
  variables: NodeJS.ProcessEnv = process.env,
): Promise<{ client: Client; environment: ReturnType<typeof environmentOf> }> {
  const environment = environmentOf(config, variables);
  const { adapter, spill, store: _, relay: __, ...options } = environment.settings;
  const opened = typeof adapter === 'string' ? await adapterFromUrl(adapter) : await adapter();
  const client =
    typeof spill === 'function'
      ? await openWithStore({ ...options, adapter: opened }, await spill())
      : await open({ ...options, adapter: opened, ...(spill === undefined ? {} : { spill }) });
  try {
    await internalsOf(client).declareTopics(config.topics);
  } catch (error) {
    await client.close().catch(() => undefined);
    throw error;
  }
  return { client, environment };
}

/** A store that was made for this client ends with it. */
async function openWithStore(options: ConnectOptions, spill: OwnSpill): Promise<Client> {
  const store = 'store' in spill ? spill.store : spill;
  try {
    return await open({ ...options, spill }, () => store.close());
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function open(options: ConnectOptions, closeStore?: () => Promise<void>): Promise<Client> {
  checkOptions('connect', options, CHECKS, { adapter: "rabbitmq({ url }) from 'holdfast/rabbitmq'" });
  const { adapter, source = 'default' } = options;
  const spill = options.spill === undefined ? undefined : spillSettings(options.spill);
  const emitter = createEmitter();
  const heldBytes = spill === undefined ? 0 : await heldBy(spill);
  try {
    await adapter.connect({
      instance: randomUUID(),
      clientName: options.name ?? source,
      declare: options.declare ?? 'create',
      emit: adapterEvents(emitter),
      crashPoint: options.crashPoint,
    });
  } catch (error) {
    await adapter.close().catch(() => undefined);
    throw fromAdapter(error, `connect to ${adapter.name}`);
  }
  const publisher = createPublisher({
    adapter,
    emitter,
    breaker: options.breaker ?? {},
    buffer: { messages: options.buffer?.messages ?? 10_000, bytes: options.buffer?.bytes ?? 64 * 1024 * 1024 },
    spill: spill && { ...spill, heldBytes },
    crashPoint: options.crashPoint,
  });
  return createClient({ adapter, publisher, emitter, source, crashPoint: options.crashPoint, spill, closeStore });
}

/** What is there from before. A store that cannot be used is found out now, not when the broker is away. */
async function heldBy({ spill }: SpillSettings): Promise<number> {
  try {
    const { bytes } = await spill.state();
    return bytes;
  } catch (error) {
    throw new HoldfastError('spill-failed', `The spill store cannot be used: ${textOf(error)}`, {
      cause: error,
    });
  }
}
