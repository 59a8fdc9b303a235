import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { afterEach } from 'vitest';
import { type KafkaOptions, kafka } from '../../adapters/kafka/index.ts';
import { partitionOf } from '../../src/partition.ts';
import type {
  AdapterEvent,
  AdapterHooks,
  BrokerAdapter,
  Delivery,
  Outgoing,
  Priority,
  PublishOutcome,
  Receive,
  Settlement,
  Source,
  StoredLetter,
  Subscription,
  Topology,
} from '../../src/port.ts';

export const brokers: string = process.env.HOLDFAST_KAFKA_URL ?? 'kafka://127.0.0.1:9092';

const opened: BrokerAdapter[] = [];
const children: ChildProcess[] = [];
afterEach(async () => {
  await Promise.all([...opened.splice(0).map((adapter) => adapter.close()), ...children.splice(0).map(kill)]);
});

/** The client library as others use it. */
export const library = (): Kafka =>
  new Kafka({ brokers: [brokers.replace('kafka://', '')], logLevel: logLevel.NOTHING });

export async function administer<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = library().admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** A consumer in a process of its own (kafka-child.ts), and the lines that it prints. Killed after the test. */
export function consumeInChild(topology: Topology, settles: string): { child: ChildProcess; lines: string[] } {
  const script = new URL('./kafka-child.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, brokers, JSON.stringify(topology), settles], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines: string[] = [];
  createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line));
  return { child, lines };
}

export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

export interface Client {
  readonly adapter: BrokerAdapter;
  readonly events: AdapterEvent[];
}

/** A connected adapter, closed after the test. */
export async function connect(options: Partial<KafkaOptions> = {}, hooks: Partial<AdapterHooks> = {}): Promise<Client> {
  const adapter = kafka({ brokers, sessionTimeoutMs: 6_000, ...options });
  const events: AdapterEvent[] = [];
  opened.push(adapter);
  await adapter.connect({
    instance: randomUUID(),
    clientName: 'tests',
    declare: 'create',
    emit: (event) => events.push(event),
    crashPoint: undefined,
    ...hooks,
  });
  return { adapter, events };
}

export function topologyOf(shape: Partial<Topology> & { ordered?: boolean } = {}): Topology {
  const { ordered = false, ...rest } = shape;
  return {
    topic: `t-${randomUUID()}`,
    groups: [{ name: 'billing', ordered }],
    partitions: 3,
    lanes: false,
    ...rest,
  };
}

export function message(topology: Topology, text: string, rest: Partial<Outgoing> = {}): Outgoing {
  const { key } = rest;
  return {
    topology,
    id: randomUUID(),
    source: 'tests',
    body: Buffer.from(text),
    contentType: 'text/plain',
    key: undefined,
    partition: key === undefined ? undefined : partitionOf(key, topology.partitions),
    lane: 'normal',
    dedupeKey: undefined,
    headers: {},
    publishedAt: Date.now(),
    expiresAt: undefined,
    delayMs: 0,
    ...rest,
  };
}

export async function publish(
  adapter: BrokerAdapter,
  batch: readonly Outgoing[],
  withinMs = 15_000,
): Promise<readonly PublishOutcome[]> {
  return await adapter.publish(batch, { deadline: Date.now() + withinMs, signal: new AbortController().signal });
}

export interface Consumer {
  readonly source: Source;
  readonly got: Delivery[];
  readonly revoked: number[];
  readonly texts: () => string[];
}

export interface ConsumeOptions extends Partial<Subscription> {
  /** What becomes of a delivery; undefined leaves it unsettled. @default done */
  readonly handle?: (delivery: Delivery, source: Source) => void;
  readonly start?: 'paused';
}

export async function consume(
  adapter: BrokerAdapter,
  topology: Topology,
  options: ConsumeOptions = {},
): Promise<Consumer> {
  const { handle = (delivery, source) => void source.settle([{ kind: 'done', delivery }]), start, ...rest } = options;
  const got: Delivery[] = [];
  const revoked: number[] = [];
  let source: Source | undefined;
  const early: Delivery[] = [];
  const receive: Receive = {
    deliver(batch) {
      got.push(...batch);
      if (source === undefined) early.push(...batch);
      else for (const delivery of batch) handle(delivery, source);
    },
    revoked: (epoch) => revoked.push(epoch),
  };
  const ordered = topology.groups.find(({ name }) => name === (rest.group ?? 'billing'))?.ordered ?? false;
  source = await adapter.subscribe(
    { topology, group: 'billing', ordered, prefetch: 100, leaseMs: 30_000, handlerTimeoutMs: 60_000, ...rest },
    receive,
  );
  if (start === 'paused') source.pause();
  for (const delivery of early) handle(delivery, source);
  return { source, got, revoked, texts: () => got.map(textOf) };
}

export const textOf = (delivery: Delivery): string => Buffer.from(delivery.message.body).toString();
export const keep = (): void => {};
export const settle = async (source: Source, ...batch: Settlement[]): Promise<readonly string[]> =>
  await source.settle(batch);

/** Waits for a condition, and fails with what was seen instead. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: () => unknown = () => condition.toString(),
  ms = 20_000,
): Promise<void> {
  for (const end = Date.now() + ms; !(await condition()); ) {
    if (Date.now() > end) throw new Error(`did not happen within ${ms} ms: ${String(JSON.stringify(what()))}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function lettersOf(
  adapter: BrokerAdapter,
  topology: Topology,
  group = 'billing',
): Promise<StoredLetter[]> {
  const letters: StoredLetter[] = [];
  for await (const page of adapter.deadLetters(topology, group).scan({ pageSize: 2, signal: undefined }))
    letters.push(...page);
  return letters;
}

export const numbers = (count: number, prefix = 'm'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);
export const lanes: readonly Priority[] = ['high', 'normal', 'low'];
