import { randomUUID } from 'node:crypto';
import type {
  AdapterEvent,
  AdapterHooks,
  BrokerAdapter,
  Delivery,
  GroupTopology,
  Outgoing,
  PublishOutcome,
  Settlement,
  SettleOutcome,
  Source,
  Subscription,
  Topology,
} from '../../src/port.ts';
import { until as patiently } from '../conformance/until.ts';

/** Waits for a condition that nothing announces, by looking. Fails by saying what never came. */
export function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs: number = 15_000,
): Promise<void> {
  return patiently(what, condition, withinMs);
}

export function hooksOf(events: AdapterEvent[] = [], more: Partial<AdapterHooks> = {}): AdapterHooks {
  return {
    instance: randomUUID(),
    clientName: 'port-harness',
    declare: 'create',
    emit: (event) => void events.push(event),
    crashPoint: undefined,
    ...more,
  };
}

/** A topic of a fresh name. */
export function topologyOf(
  groups: readonly GroupTopology[] = [{ name: 'g', ordered: false }],
  more: Partial<Topology> = {},
): Topology {
  return { topic: `t-${randomUUID()}`, groups, partitions: 1, lanes: false, ...more };
}

export function outgoing(topology: Topology, text: string, more: Partial<Outgoing> = {}): Outgoing {
  return {
    topology,
    id: `id-${text}`,
    source: 'test',
    body: new TextEncoder().encode(text),
    contentType: 'text/plain',
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

/** `outgoing` for an ordered group. */
export function keyed(topology: Topology, text: string, key: string, partition: number): Outgoing {
  return outgoing(topology, text, { key, partition });
}

export function publish(adapter: BrokerAdapter, batch: readonly Outgoing[]): Promise<readonly PublishOutcome[]> {
  return adapter.publish(batch, { deadline: Date.now() + 30_000, signal: new AbortController().signal });
}

export function textOf(delivery: Delivery): string {
  return new TextDecoder().decode(delivery.message.body);
}

/** A consumer that keeps what it gets until the test settles it. */
export interface Inbox {
  readonly source: Source;
  readonly deliveries: readonly Delivery[];
  readonly revoked: readonly number[];
  /** Bodies, as delivered. */
  texts(): string[];
  /** Waits for this many deliveries in all. */
  count(n: number): Promise<readonly Delivery[]>;
  settle(kind: 'done' | 'give-back', ...deliveries: Delivery[]): Promise<readonly SettleOutcome[]>;
  retry(delivery: Delivery, delayMs: number, marks?: Record<string, string>): Promise<SettleOutcome>;
  dead(delivery: Delivery, marks?: Record<string, string>): Promise<SettleOutcome>;
}

export async function consume(
  adapter: BrokerAdapter,
  topology: Topology,
  more: Partial<Subscription> & { readonly onBatch?: (batch: readonly Delivery[], source: () => Source) => void } = {},
): Promise<Inbox> {
  const { onBatch, ...options } = more;
  const deliveries: Delivery[] = [];
  const revoked: number[] = [];
  const group = options.group ?? topology.groups[0]!.name;
  const source: Source = await adapter.subscribe(
    {
      topology,
      group,
      ordered: topology.groups.find((each) => each.name === group)?.ordered ?? false,
      prefetch: 10,
      leaseMs: 30_000,
      handlerTimeoutMs: 10_000,
      ...options,
    },
    {
      deliver(batch) {
        deliveries.push(...batch);
        onBatch?.(batch, () => source);
      },
      revoked: (epoch) => void revoked.push(epoch),
    },
  );
  const one = async (settlement: Settlement): Promise<SettleOutcome> => (await source.settle([settlement]))[0]!;
  return {
    source,
    deliveries,
    revoked,
    texts: () => deliveries.map(textOf),
    async count(n) {
      await until(`${n} deliveries of ${topology.topic}, had ${deliveries.length}`, () => deliveries.length >= n);
      return deliveries;
    },
    settle: (kind, ...list) => source.settle(list.map((delivery) => ({ kind, delivery }))),
    retry: (delivery, delayMs, marks = {}) => one({ kind: 'retry', delivery, delayMs, marks }),
    dead: (delivery, marks = {}) => one({ kind: 'dead', delivery, marks }),
  };
}
