/** A broker adapter for tests of the core: each function may be replaced, the rest does nothing and succeeds. */

import { type Client, connect } from '../../src/index.ts';
import type {
  BrokerAdapter,
  Capabilities,
  Delivery,
  Inbox,
  Incoming,
  Outgoing,
  PublishOutcome,
  Receive,
  Settlement,
  Source,
} from '../../src/port.ts';

const capabilities: Capabilities = {
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
  backlog: [],
  defaultPartitions: 1,
  maxBodyBytes: 1024 * 1024,
  flow: { batchMessages: 100, batchBytes: 1024 * 1024, window: 4, exclusive: 'key' },
};

export const confirmAll = async (batch: readonly Outgoing[]): Promise<readonly PublishOutcome[]> =>
  batch.map(() => ({ kind: 'confirmed' }));

/** Thrown by a fake to say that trying again may help. */
export class Transient extends Error {}

export function fakeAdapter(
  own: Partial<Omit<BrokerAdapter, 'capabilities'>> & { readonly capabilities?: Partial<Capabilities> } = {},
): BrokerAdapter {
  return {
    name: 'fake',
    async connect() {},
    async declare() {},
    publish: confirmAll,
    subscribe: async () => fakeSource(),
    deadLetters() {
      throw new Error('the fake has no dead letters');
    },
    async backlog() {
      return {
        ready: undefined,
        inFlight: undefined,
        delayed: undefined,
        dead: undefined,
        oldestAgeMs: undefined,
        exact: false,
      };
    },
    health: async () => ({ connected: true, checks: [] }),
    isTransient: (error) => error instanceof Transient,
    async close() {},
    ...own,
    capabilities: { ...capabilities, ...own.capabilities },
  };
}

export function fakeSource(own: Partial<Source> = {}): Source {
  return {
    settle: async (batch) => batch.map(() => 'settled'),
    async extend() {},
    pause() {},
    resume() {},
    async stop() {},
    ...own,
  };
}

/** The first delivery of a message that is its number. */
export function deliveryOf(
  n: number,
  { message, ...more }: Partial<Omit<Delivery, 'message'>> & { readonly message?: Partial<Incoming> } = {},
): Delivery {
  return {
    message: {
      id: `id-${n}`,
      source: 's',
      body: new TextEncoder().encode(String(n)),
      contentType: 'application/json',
      key: undefined,
      dedupeKey: undefined,
      headers: {},
      marks: {},
      publishedAt: undefined,
      expiresAt: undefined,
      ...message,
    },
    lane: 'normal',
    shard: 0,
    epoch: 1,
    redelivered: false,
    suspect: false,
    position: String(n),
    handle: n,
    ...more,
  };
}

/** A client whose one source is in the test's hands. */
export interface InHand {
  readonly client: Client;
  readonly settled: readonly Settlement[];
  readonly extended: readonly (readonly Delivery[])[];
  /** Of `pause`, `resume` and `stop`. */
  readonly calls: readonly string[];
  deliver(...batch: readonly Delivery[]): void;
  revoke(epoch: number): void;
}

export async function inHand(able: Partial<Capabilities> = {}, own: Partial<Source> = {}): Promise<InHand> {
  let receive!: Receive;
  const settled: Settlement[] = [];
  const extended: (readonly Delivery[])[] = [];
  const calls: string[] = [];
  const adapter = fakeAdapter({
    capabilities: able,
    subscribe: async (_, given) => {
      receive = given;
      return fakeSource({
        async settle(batch) {
          settled.push(...batch);
          return batch.map(() => 'settled');
        },
        async extend(deliveries) {
          extended.push(deliveries);
        },
        pause: () => void calls.push('pause'),
        resume: () => void calls.push('resume'),
        stop: async () => void calls.push('stop'),
        ...own,
      });
    },
  });
  return {
    client: await connect({ adapter }),
    settled,
    extended,
    calls,
    deliver: (...batch) => receive.deliver(batch),
    revoke: (epoch) => receive.revoked(epoch),
  };
}

/** A promise with its ends outside. */
export interface Gate<T = void> {
  readonly opened: Promise<T>;
  open(value: T): void;
  fail(error: unknown): void;
}
export function gate<T = void>(): Gate<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve, fail: reject };
}

export type { Receive };

/** Remembers in memory what was handled. `broken` says whether the store fails now. */
export function fakeInbox(broken: () => boolean = () => false): Inbox<object> {
  const known = new Set<string>();
  return {
    kind: 'fake',
    maxTransactions: 10,
    async run(claims, _signal, work) {
      if (broken()) throw new Error('the database is away');
      const names = claims.map(({ group, topic, identity }) => JSON.stringify([group, topic, identity]));
      const fresh = names.flatMap((name, index) => (known.has(name) || names.indexOf(name) < index ? [] : [index]));
      if (fresh.length > 0) await work({}, fresh);
      for (const index of fresh) known.add(names[index]!);
      return fresh;
    },
    seen: async (claims) =>
      claims.map(({ group, topic, identity }) => known.has(JSON.stringify([group, topic, identity]))),
  };
}
