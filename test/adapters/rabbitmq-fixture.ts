import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Channel, ChannelModel } from 'amqplib';
import amqplib from 'amqplib';
import { type RabbitmqOptions, rabbitmq } from '../../adapters/rabbitmq/index.ts';
import type {
  AdapterEvent,
  AdapterHooks,
  BrokerAdapter,
  Delivery,
  Outgoing,
  PublishOutcome,
  Settlement,
  SettleOutcome,
  Source,
  Subscription,
  Topology,
} from '../../src/port.ts';
import type { Server } from '../fleet/index.ts';

export function rabbitmqUrl(): string {
  const url = process.env.HOLDFAST_RABBITMQ_URL;
  if (url === undefined) throw new Error('these tests need a RabbitMQ: set HOLDFAST_RABBITMQ_URL');
  return url;
}

/** What the broker says it is. Tests that speak of what only some versions do ask for it. */
export interface Version {
  readonly text: string;
  /** Whether it is this version or a later one. */
  atLeast(major: number, minor?: number): boolean;
}

export async function versionOf(url: string = rabbitmqUrl()): Promise<Version> {
  const { connection } = await operator(url);
  const { version } = connection.connection.serverProperties as { readonly version: string };
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return {
    text: `RabbitMQ ${version}`,
    atLeast: (otherMajor, otherMinor = 0) => major > otherMajor || (major === otherMajor && minor >= otherMinor),
  };
}

/** Says on standard output what this server does, so that a run's log tells versions apart. */
export function say(version: Version, what: string): void {
  process.stdout.write(`${version.text}: ${what}\n`);
}

/** The management plugin's HTTP API. */
export async function managementApi(
  method: string,
  path: string,
  body?: object,
  given: string | undefined = process.env.HOLDFAST_RABBITMQ_MANAGEMENT_URL,
): Promise<unknown> {
  if (given === undefined) throw new Error('these tests need HOLDFAST_RABBITMQ_MANAGEMENT_URL');
  const url = new URL(given);
  const authorization = `Basic ${btoa(`${url.username}:${url.password}`)}`;
  const headers = { authorization, 'content-type': 'application/json' };
  const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
  const response = await fetch(`${url.origin}/api${path}`, init);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return method === 'GET' ? await response.json() : undefined;
}

/** The broker's own tool, beside the broker in its namespaces and with its environment. */
export async function rabbitmqctl(server: Server, ...command: readonly string[]): Promise<void> {
  const { pid } = server;
  const environment = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0').filter((line) => line !== '');
  const inside = ['--target', String(pid), '--mount', '--pid', '--root', '--wd', 'env', '-i', ...environment];
  await promisify(execFile)('nsenter', [...inside, '/usr/lib/rabbitmq/bin/rabbitmqctl', ...command]);
}

export async function until<T>(condition: () => T | Promise<T>, ms = 40_000): Promise<Exclude<NonNullable<T>, false>> {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value as Exclude<NonNullable<T>, false>;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for: ${condition.toString()}`);
    await pause(10);
  }
}

export interface Opened {
  readonly adapter: BrokerAdapter;
  readonly events: AdapterEvent[];
}

const cleanUps: (() => Promise<void>)[] = [];

/** For `afterEach`: closes what the test opened. */
export async function closeAll(): Promise<void> {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
}

export async function open(
  options: Partial<RabbitmqOptions> & { readonly hooks?: Partial<AdapterHooks> } = {},
): Promise<Opened> {
  const { hooks, ...rest } = options;
  const adapter = rabbitmq({ url: rabbitmqUrl(), ...rest });
  const events: AdapterEvent[] = [];
  cleanUps.push(() => adapter.close());
  await adapter.connect({
    instance: randomUUID(),
    clientName: 'holdfast-test',
    declare: 'create',
    emit: (event) => events.push(event),
    crashPoint: undefined,
    ...hooks,
  });
  return { adapter, events };
}

/** A connection of the test itself, to look at the broker and to interfere. */
export async function operator(url: string = rabbitmqUrl()): Promise<{ connection: ChannelModel; channel: Channel }> {
  const connection = await amqplib.connect(url);
  connection.on('error', () => {});
  cleanUps.push(() => connection.close().catch(() => {}));
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  return { connection, channel };
}

export function topologyOf(
  groups: Readonly<Record<string, 'ordered' | 'unordered'>>,
  more: Partial<Topology> = {},
): Topology {
  return {
    topic: `t.${randomUUID()}`,
    groups: Object.entries(groups).map(([name, kind]) => ({ name, ordered: kind === 'ordered' })),
    partitions: 1,
    lanes: false,
    ...more,
  };
}

export function message(topology: Topology, more: Partial<Outgoing> = {}): Outgoing {
  return {
    topology,
    id: randomUUID(),
    source: 'test',
    body: Buffer.from('{}'),
    contentType: 'application/json',
    key: undefined,
    partition: undefined,
    lane: 'normal',
    dedupeKey: undefined,
    headers: {},
    publishedAt: Date.now(),
    expiresAt: undefined,
    delayMs: 0,
    ...more,
  };
}

export function texts(
  topology: Topology,
  bodies: readonly string[],
  more: Partial<Outgoing> = {},
): readonly Outgoing[] {
  return bodies.map((body) => message(topology, { body: Buffer.from(body), ...more }));
}

export async function publish(
  adapter: BrokerAdapter,
  batch: readonly Outgoing[],
  withinMs = 10_000,
): Promise<readonly PublishOutcome[]> {
  return await adapter.publish(batch, { deadline: Date.now() + withinMs, signal: new AbortController().signal });
}

export const textOf = (delivery: Delivery): string => Buffer.from(delivery.message.body).toString();

export interface Consumer {
  readonly source: Source;
  readonly received: Delivery[];
  readonly revoked: number[];
  texts(): readonly string[];
  settle(kind: 'done' | 'give-back', deliveries: readonly Delivery[]): Promise<readonly SettleOutcome[]>;
  settleAs(settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]>;
}

export async function consume(
  adapter: BrokerAdapter,
  topology: Topology,
  group: string,
  more: Partial<Subscription> & { readonly auto?: boolean } = {},
): Promise<Consumer> {
  const { auto, ...rest } = more;
  const received: Delivery[] = [];
  const revoked: number[] = [];
  const source: Source = await adapter.subscribe(
    {
      topology,
      group,
      ordered: topology.groups.find(({ name }) => name === group)?.ordered ?? false,
      prefetch: 100,
      leaseMs: 30_000,
      handlerTimeoutMs: 60_000,
      ...rest,
    },
    {
      deliver(batch) {
        received.push(...batch);
        if (auto) queueMicrotask(() => void source.settle(batch.map((delivery) => ({ kind: 'done', delivery }))));
      },
      revoked: (epoch) => revoked.push(epoch),
    },
  );
  return {
    source,
    received,
    revoked,
    texts: () => received.map(textOf),
    settle: (kind, deliveries) => source.settle(deliveries.map((delivery) => ({ kind, delivery }))),
    settleAs: (settlements) => source.settle(settlements),
  };
}
