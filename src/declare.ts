/** Which topologies this client has declared: each once, and again only when a group is added. */

import { onAbort } from './aborts.ts';
import { fromAdapter, HoldfastError, textOf } from './errors.ts';
import type { Emitter } from './events.ts';
import { withRetries } from './policy/retry.ts';
import type { BrokerAdapter, GroupTopology, OutboxShape, Topology } from './port.ts';
import { checkGroupName, groupsOf, shapeOf, topologyOf } from './shape.ts';
import type { Topic } from './topic.ts';

export interface Topologies {
  /** The topology, if it is declared already. */
  known(topic: Topic): Topology | undefined;
  of(topic: Topic): Topology;
  hasGroup(topic: string, group: string): boolean;
  /** Declares if needed, trying again while the broker is away, until the caller's own time is up. */
  declareTopic(topic: Topic, limit: Limit): Promise<Topology>;
  declareWithin(shape: OutboxShape, limit: Limit): Promise<Topology>;
  declareGroup(
    topic: Topic,
    group: string,
    order: 'none' | 'key' | undefined,
    from: GroupTopology['from'],
  ): Promise<{ readonly topology: Topology; readonly ordered: boolean }>;
  /** Whoever waits for a declaration is told that the client is closed; nothing is tried again. */
  close(): void;
}

/** How long one caller waits. */
export interface Limit {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** When to stop waiting for a broker that seems to be away: an attempt has failed, or `isAway` says so. */
  readonly patience?: { readonly ms: number; isAway(): boolean } | undefined;
  /** Then it fails as a publish does, with outcome `not-sent`. @default false */
  readonly publishing?: boolean;
}

/** A declaration under way, shared by all who need it and given up when nobody waits any more. */
interface Attempt {
  readonly done: Promise<Topology>;
  abandon(): void;
  stop(reason: unknown): void;
  waiters: number;
  lastError: unknown;
}

const BACKOFF = { retries: Number.POSITIVE_INFINITY, firstMs: 50, factor: 2, maxMs: 1_000, jitter: true };

export function createTopologies(
  adapter: BrokerAdapter,
  emitter: Emitter,
  crashPoint: ((name: string) => void | Promise<void>) | undefined,
): Topologies {
  const declared = new Map<string, Topology>();
  const byTopic = new WeakSet<object>();
  const declaring = new Map<string, Attempt>();
  const warned = new Set<string>();
  let closed = false;

  /** What is known of the topic from elsewhere in this client stays: declaring only adds. */
  function merged(topology: Topology): Topology {
    const before = declared.get(topology.topic);
    if (before === undefined) return topology;
    assertSame(before, topology);
    const added = topology.groups.filter((group) => !before.groups.some(({ name }) => name === group.name));
    return added.length === 0 ? before : { ...before, groups: [...before.groups, ...added] };
  }

  async function declare(topology: Topology, limit: Limit): Promise<Topology> {
    assertSupported(topology, adapter);
    const all = merged(topology);
    if (declared.get(all.topic) === all) return all;
    if (closed) throw closedError();
    const name = JSON.stringify(all);
    let attempt = declaring.get(name);
    if (attempt === undefined) {
      attempt = begin(all, name);
      declaring.set(name, attempt);
    }
    return waitFor(attempt, all.topic, limit);
  }

  async function declareAll(topology: Topology): Promise<void> {
    await adapter.declare(topology);
    await crashPoint?.('declare:declared');
  }

  function begin(topology: Topology, name: string): Attempt {
    const stop = new AbortController();
    const given = new Promise<never>((_, reject) => onAbort(stop.signal, () => reject(stop.signal.reason)));
    const again = (error: unknown): boolean => {
      attempt.lastError = error;
      return adapter.isTransient(error);
    };
    const tried = withRetries(() => declareAll(topology), BACKOFF, again, stop.signal);
    const done = Promise.race([tried, given])
      .then(() => {
        const result = merged(topology);
        declared.set(topology.topic, result);
        return result;
      })
      .finally(forget);
    function forget(): void {
      if (declaring.get(name) === attempt) declaring.delete(name);
    }
    const attempt: Attempt = {
      done,
      stop: (reason) => stop.abort(reason),
      abandon() {
        // At once: whoever comes now begins anew.
        forget();
        stop.abort();
      },
      waiters: 0,
      lastError: undefined,
    };
    return attempt;
  }

  /** Each for its own time: a caller in a hurry does not cut short one that has time, nor the other way round. */
  function waitFor(
    attempt: Attempt,
    topic: string,
    { timeoutMs, signal, patience, publishing = false }: Limit,
  ): Promise<Topology> {
    return new Promise((resolve, reject) => {
      let waits = true;
      const end = (): boolean => {
        if (!waits) return false;
        waits = false;
        clearTimeout(timer);
        clearInterval(impatience);
        forget?.();
        attempt.waiters -= 1;
        if (attempt.waiters === 0) attempt.abandon();
        return true;
      };
      attempt.waiters += 1;
      const giveUp = (afterMs: number): void => {
        if (end()) reject(lateError(topic, afterMs, attempt.lastError, publishing));
      };
      const timer = setTimeout(() => giveUp(timeoutMs), timeoutMs);
      const impatience =
        patience === undefined
          ? undefined
          : setInterval(() => {
              if (attempt.lastError !== undefined || patience.isAway()) giveUp(patience.ms);
            }, patience.ms);
      const forget =
        signal === undefined || signal.aborted
          ? undefined
          : onAbort(signal, () => end() && reject(abortError(topic, signal)));
      if (signal?.aborted && end()) reject(abortError(topic, signal));
      attempt.done.then(
        (topology) => end() && resolve(topology),
        (error: unknown) => end() && reject(failure(error, topic, publishing)),
      );
    });
  }

  async function declareTopic(topic: Topic, limit: Limit): Promise<Topology> {
    const topology = await declare(topologyOf(shapeOf(topic), adapter.capabilities), limit);
    byTopic.add(topic);
    return topology;
  }

  function warnOnce(code: string, topic: string, detail: string): void {
    if (warned.has(`${code} ${topic}`)) return;
    warned.add(`${code} ${topic}`);
    emitter.emit('warning', { code, detail });
  }

  return {
    known: (topic) => (byTopic.has(topic) ? declared.get(topic.name) : undefined),
    of: (topic) => merged(topologyOf(shapeOf(topic), adapter.capabilities)),
    hasGroup: (topic, group) => declared.get(topic)?.groups.some(({ name }) => name === group) === true,
    declareTopic,
    async declareWithin(shape, limit) {
      return declare(topologyOf(shape, adapter.capabilities), limit);
    },
    async declareGroup(topic, group, order, from) {
      checkGroupName(group);
      const own = groupsOf(topic.options).find(({ name }) => name === group);
      const ordered = own?.ordered ?? false;
      if (order !== undefined && (order === 'key') !== ordered) {
        throw new HoldfastError(
          'group-mismatch',
          `Group "${group}" of topic "${topic.name}" is declared with order '${ordered ? 'key' : 'none'}', but consume asks for '${order}': order belongs to defineTopic's groups`,
        );
      }
      if (typeof from === 'number' && !adapter.capabilities.history) {
        throw new HoldfastError(
          'unsupported',
          `${adapter.name} keeps no history: "from" cannot be a Date, only 'earliest' (since the group was declared) or 'latest'`,
        );
      }
      if (own === undefined) {
        warnOnce(
          'undeclared-group',
          `${topic.name} ${group}`,
          `Group "${group}" is not declared in topic "${topic.name}": messages published before its first consumer were not kept for it`,
        );
      }
      if (ordered && typeof topic.options.priority === 'function') {
        warnOnce(
          'order-with-priority',
          topic.name,
          `Topic "${topic.name}" has an ordered group and a priority function: one key over two lanes has no order`,
        );
      }
      const base = topologyOf(shapeOf(topic), adapter.capabilities);
      const start = from === undefined ? {} : { from };
      const groups = [...base.groups.filter(({ name }) => name !== group), { name: group, ordered, ...start }];
      const topology = await declare({ ...base, groups }, { timeoutMs: 30_000 });
      byTopic.add(topic);
      return { topology, ordered };
    },
    close() {
      closed = true;
      for (const attempt of declaring.values()) attempt.stop(closedError());
    },
  };
}

const closedError = (): HoldfastError => new HoldfastError('client-closed', 'The client is closed');

function lateError(topic: string, timeoutMs: number, lastError: unknown, publishing: boolean): HoldfastError {
  const why = lastError === undefined ? 'the broker does not answer' : `last: ${textOf(lastError)}`;
  return new HoldfastError(
    publishing ? 'publish-timeout' : 'broker-unreachable',
    `Topic "${topic}" could not be declared within ${timeoutMs} ms (${why})`,
    { cause: lastError },
  );
}

const abortError = (topic: string, signal: AbortSignal): HoldfastError =>
  new HoldfastError('publish-aborted', `Waiting for topic "${topic}" to be declared was aborted: nothing was sent`, {
    cause: signal.reason,
  });

function failure(error: unknown, topic: string, publishing: boolean): HoldfastError {
  const found = fromAdapter(error, `declare topic "${topic}"`);
  return new HoldfastError(found.code, found.message, {
    cause: error,
    details: found.details,
    ...(publishing ? { outcome: 'not-sent' as const } : {}),
  });
}

/** What a topic needs and the adapter cannot give, not even by emulation, is refused here: never silently weakened. */
function assertSupported(topology: Topology, { name, capabilities }: BrokerAdapter): void {
  const ordered = topology.groups.find((group) => group.ordered);
  const lacking =
    ordered !== undefined && capabilities.order === 'none'
      ? `order by key, which its group "${ordered.name}" declares`
      : topology.lanes && capabilities.priority === 'none'
        ? 'priority lanes'
        : undefined;
  if (lacking !== undefined) {
    throw new HoldfastError(
      'unsupported',
      `Topic "${topology.topic}" needs ${lacking}; ${name} has no such thing. Use another adapter, or define the topic without it`,
      {
        outcome: 'not-sent',
      },
    );
  }
}

function assertSame(before: Topology, after: Topology): void {
  const differs =
    before.partitions !== after.partitions ? 'partitions' : before.lanes !== after.lanes ? 'priority' : undefined;
  if (differs !== undefined) {
    throw new HoldfastError(
      'topology-conflict',
      `Topic "${before.topic}" is defined twice in this process with different ${differs}`,
    );
  }
}
