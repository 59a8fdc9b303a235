import type { AdapterHooks, BrokerAdapter, Capabilities } from '../../src/port.ts';
import { backlog } from './backlog.ts';
import { type MemoryBroker, memoryBroker } from './broker.ts';
import type { Clock } from './clock.ts';
import { type MemorySource, subscribe } from './consume.ts';
import { deadLetters } from './dead-letters.ts';
import { publish } from './publish.ts';
import { adapterError, declareTopology } from './topology.ts';

export { type MemoryBroker, memoryBroker } from './broker.ts';
export { type Clock, systemClock, type VirtualClock, virtualClock } from './clock.ts';

export interface MemoryOptions {
  /** Shared by the adapters that shall see each other's messages. @default a broker of its own */
  readonly broker?: MemoryBroker;
  /** Of the broker that is created when none is given: `virtualClock()` in tests. @default the system's */
  readonly clock?: Clock;
}

/** The adapter, and what tests may do to it. */
export interface MemoryAdapter extends BrokerAdapter {
  readonly broker: MemoryBroker;
  /** As if its process died: nothing is settled, and what was unsettled is redelivered to others, in order, as suspect. */
  crash(): void;
  /** As if its connection broke and came back: unsettled deliveries are revoked and redelivered under a new epoch. */
  disconnect(): void;
}

const OPTIONS = ['broker', 'clock'] as const;

const CAPABILITIES: Capabilities = {
  durability: 'memory',
  multiProcess: false,
  order: 'native',
  priority: 'native',
  delayedPublish: 'native',
  delayedRetry: 'native',
  delayPrecision: 'exact',
  deadLetters: 'native',
  publishDedupe: 'none',
  atomicMoves: true,
  history: false,
  unroutable: true,
  leases: false,
  backlog: ['ready', 'inFlight', 'delayed', 'dead', 'oldestAgeMs'],
  defaultPartitions: 1,
  maxBodyBytes: 64 * 1024 * 1024,
  marks: true,
  flow: { batchMessages: 256, batchBytes: 16 * 1024 * 1024, window: 8, exclusive: 'partition' },
};

/**
 * The broker for tests and first steps: everything that holdfast asks of a broker, inside this process.
 *
 * Nothing outlives the process. Several adapters share one broker by `memory({ broker })`.
 */
export function memory(options: MemoryOptions = {}): MemoryAdapter {
  check(options);
  const broker = options.broker ?? memoryBroker(options.clock === undefined ? {} : { clock: options.clock });
  const sources = new Set<MemorySource>();
  let hooks: AdapterHooks | undefined;

  function connected(): AdapterHooks {
    if (hooks === undefined) throw adapterError('broker-unreachable', 'the memory adapter is not connected');
    return hooks;
  }

  function detach(): void {
    if (hooks === undefined) return;
    hooks.emit({ type: 'disconnected' });
    hooks = undefined;
    broker.detach();
  }

  return {
    name: 'memory',
    capabilities: CAPABILITIES,
    broker,
    async connect(given) {
      if (hooks !== undefined) return;
      hooks = given;
      broker.attach();
      hooks.emit({ type: 'connected' });
    },
    async declare(topology) {
      declareTopology(broker, topology, connected().declare);
    },
    async publish(batch, { signal }) {
      try {
        connected();
        signal.throwIfAborted();
      } catch (error) {
        return batch.map(() => ({ kind: 'rejected', error }));
      }
      return publish(broker, batch);
    },
    async subscribe(subscription, receive) {
      declareTopology(broker, subscription.topology, connected().declare);
      const source = subscribe(broker, subscription, receive);
      sources.add(source);
      return {
        ...source,
        async stop() {
          sources.delete(source);
          await source.stop();
        },
      };
    },
    deadLetters: (topology, group) => deadLetters(broker, topology.topic, group),
    backlog: async (topology, group) => backlog(broker, topology.topic, group),
    async health() {
      return { connected: hooks !== undefined, checks: [] };
    },
    // What is wrong here stays wrong: there is no connection that could come back by itself.
    isTransient: () => false,
    async close() {
      for (const source of sources) await source.stop();
      sources.clear();
      detach();
    },
    crash() {
      for (const source of sources) source.crash();
      sources.clear();
      detach();
    },
    disconnect() {
      for (const source of sources) source.disconnect();
    },
  };
}

function check(options: MemoryOptions): void {
  for (const key of Object.keys(options)) {
    if (!(OPTIONS as readonly string[]).includes(key)) {
      const near = OPTIONS.find((name) => name[0] === key[0]?.toLowerCase());
      const hint = near === undefined ? `its options are ${OPTIONS.join(' and ')}` : `did you mean "${near}"?`;
      throw new TypeError(`memory() has no option "${key}": ${hint}`);
    }
  }
  const { broker, clock } = options;
  if (broker !== undefined && typeof broker?.attach !== 'function') {
    throw new TypeError(`memory({ broker }) takes what memoryBroker() returns, received ${typeof broker}`);
  }
  if (clock !== undefined && (typeof clock?.now !== 'function' || typeof clock.setTimer !== 'function')) {
    throw new TypeError(`memory({ clock }) takes what virtualClock() returns, received ${typeof clock}`);
  }
  if (broker !== undefined && clock !== undefined && broker.clock !== clock) {
    throw new TypeError(
      'memory({ broker, clock }): the broker has another clock; give the clock to memoryBroker({ clock })',
    );
  }
}
