/** The client: what `connect` returns. Each method's steps live in a file of their own; here they are put together. */

import { type Closed, closeInOrder } from './close.ts';
import { type BatchContext, batchRunner } from './consume/batches.ts';
import { type Consumer, type ConsumerInternals, type ConsumerSetup, startConsumer } from './consume/consumer.ts';
import type { Runner } from './consume/context.ts';
import { eachRunner } from './consume/each.ts';
import { checkHalts, checkPatience, warnOfInbox } from './consume/fit.ts';
import { type BatchOptions, type ConsumeOptions, checkBatchOptions, consumePlan } from './consume/options.ts';
import { type DeadLetters, deadLettersOf } from './dead-letters.ts';
import { createTopologies } from './declare.ts';
import { DEFAULT_TIMEOUT_MS } from './declare-attempt.ts';
import { fromAdapter, HoldfastError, isHoldfastError, textOf } from './errors.ts';
import type { Emitter, EventName, Listener } from './events.ts';
import { checkHealth, type Health } from './health.ts';
import { setInternals } from './internals.ts';
import type { Message } from './message.ts';
import { checkOptions, describe, durationMs, OptionsError, object } from './options.ts';
import { createSpillDrain } from './outbox/spill-drain.ts';
import type { SpillSettings } from './outbox/spill-options.ts';
import { groupRates } from './policy/rate.ts';
import type { Backlog, BrokerAdapter, OutboxRow, OutboxShape } from './port.ts';
import { DEFAULT_MAX_BYTES } from './publish/encode.ts';
import { createPublish, type PublishOptions } from './publish/publish.ts';
import type { Publisher } from './publish/publisher.ts';
import type { Receipt } from './publish/receipt.ts';
import { routeRow } from './publish/route.ts';
import { groupsOf, shapeOf } from './shape.ts';
import type { Topic } from './topic.ts';

export type { PublishOptions };
export type PublishResult =
  | { readonly ok: true; readonly receipt: Receipt }
  | { readonly ok: false; readonly error: HoldfastError };

export interface Context<Tx> {
  /** The inbox's transaction; throws once the handler has timed out or been aborted (S24). `undefined` without an inbox. */
  readonly tx: Tx;
  readonly signal: AbortSignal;
}
export type Handler<T, Tx> = (message: Message<T>, context: Context<Tx>) => unknown;
export interface BatchHandlerContext<T, Tx> extends Context<Tx> {
  /** This message has failed; the others have not (S25). */
  fail(message: Message<T>, error: unknown): void;
}
export type BatchHandler<T, Tx> = (messages: readonly Message<T>[], context: BatchHandlerContext<T, Tx>) => unknown;

export interface Client extends AsyncDisposable {
  /**
   * Publishes one message. Fulfils once the broker has confirmed it, as durably as the adapter promises; or, with
   * `connect`'s `spill`, once the store keeps it because the broker is away.
   *
   * Rejects with a HoldfastError by `timeoutMs` at the latest: `outcome` is `'not-sent'` (surely not stored) or
   * `'unknown'` (may be stored: repeat only with the same id). Codes: `schema-mismatch`, `not-encodable`,
   * `invalid-message`, `message-too-large`, `unroutable`, `publish-rejected`, `publish-timeout`, `publish-unknown`,
   * `publish-aborted`, `circuit-open`, `spill-full`, `spill-failed`, `client-closed`.
   */
  publish<I, O>(topic: Topic<I, O>, payload: NoInfer<I>, options?: PublishOptions): Promise<Receipt>;
  /** Publishes many; one result per message, in order. Never rejects for a message. */
  publishAll<I, O>(
    topic: Topic<I, O>,
    payloads: readonly NoInfer<I>[],
    optionsFor?: (payload: I, index: number) => PublishOptions,
  ): Promise<readonly PublishResult[]>;
  /** Starts handling a group's messages. A handler that returns is done; one that throws is retried, then dead-lettered. */
  consume<I, O, Tx = undefined>(
    topic: Topic<I, O>,
    options: ConsumeOptions<Tx>,
    handler: Handler<O, Tx>,
  ): Promise<Consumer>;
  /** The same with many messages per call; one failed message does not fail its batch. */
  consumeBatches<I, O, Tx = undefined>(
    topic: Topic<I, O>,
    options: ConsumeOptions<Tx> & { readonly batch: BatchOptions },
    handler: BatchHandler<O, Tx>,
  ): Promise<Consumer>;
  deadLetters<I, O>(topic: Topic<I, O>, group: string): DeadLetters<I>;
  /** How much waits. Unknown is undefined, never 0. */
  backlog<I, O>(topic: Topic<I, O>, group: string): Promise<Backlog>;
  /** `live`: restart me if false. `ready`: route to me. A broker's outage is never `live: false`. */
  health(): Promise<Health>;
  /** Observes; a listener that throws is ignored. Returns the unsubscriber. */
  on<N extends EventName>(name: N, listener: Listener<N>): () => void;
  /**
   * Stops intake, waits for handlers and confirms, gives the rest back. Idempotent. Handlers that still run may publish.
   *
   * A handler must not await it: it would wait for itself, until the drain is over. @default drainMs 10_000
   */
  close(options?: { readonly drainMs?: number }): Promise<Closed>;
}

/** What a relay needs of a client beyond its public face. */
export interface ClientInternals {
  readonly emitter: Emitter;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  publishRow(row: OutboxRow, shape: OutboxShape, timeoutMs: number, signal?: AbortSignal): Promise<Receipt>;
  declareTopics(topics: readonly Topic[]): Promise<void>;
  /** Runs when the client closes, before its publisher drains. Returns the unregisterer. */
  onClose(stop: () => Promise<void>): () => void;
}
export interface ClientSetup {
  readonly adapter: BrokerAdapter;
  readonly publisher: Publisher;
  readonly emitter: Emitter;
  readonly source: string;
  readonly crashPoint: ClientInternals['crashPoint'];
  readonly spill?: SpillSettings | undefined;
  /** Ends a spill store that is this client's alone. */
  readonly closeStore?: (() => Promise<void>) | undefined;
}

/** One that is none would fail for every message, and fill the dead letters. */
function checkHandler(handler: unknown): void {
  if (typeof handler === 'function') return;
  throw new OptionsError('consume', [`the handler must be a function, received ${describe(handler)}`]);
}

/** What publishing throws beside our own errors is misuse, or a function of the topic's that threw: nothing was sent. */
function inputError(error: unknown, topic: string): HoldfastError {
  if (isHoldfastError(error)) return error;
  return new HoldfastError('invalid-message', `Could not publish to "${topic}": ${textOf(error)}`, {
    cause: error,
  });
}

export function createClient({
  adapter,
  publisher,
  emitter,
  source,
  crashPoint,
  spill,
  closeStore,
}: ClientSetup): Client {
  const topologies = createTopologies(adapter, emitter, crashPoint);
  const consumers = new Set<ConsumerInternals>();
  const rates = groupRates();
  const stops = new Set<() => Promise<void>>();
  const maxBytes = Math.min(adapter.capabilities.maxBodyBytes, DEFAULT_MAX_BYTES);
  const starting = new Set<Promise<Consumer>>();
  let closed: Promise<Closed> | undefined;
  let accepting = true;
  const publish = createPublish({ adapter, publisher, topologies, source, maxBytes, accepts: () => accepting });

  async function consume(
    topic: Topic,
    options: ConsumeOptions<unknown>,
    runner: Runner,
    extra: Record<string, typeof object>,
  ): Promise<Consumer> {
    assertOpen();
    const plan = consumePlan(options, extra);
    const { topology, ordered } = await topologies.declareGroup(topic, plan.group, options.order, plan.from);
    assertOpen();
    checkHalts(topic.name, plan, ordered);
    if (ordered) checkPatience(topic.name, plan, adapter);
    warnOfInbox(topic.name, plan, emitter);
    const started = begin({ adapter, topology, topic, plan, ordered, emitter, rates, crashPoint }, runner);
    starting.add(started);
    try {
      return await started;
    } catch (error) {
      throw fromAdapter(error, `consume topic "${topic.name}" as group "${plan.group}"`);
    } finally {
      starting.delete(started);
    }
  }

  async function begin(setup: ConsumerSetup, runner: Runner): Promise<Consumer> {
    const consumer = await startConsumer(setup, runner);
    const close: Consumer['close'] = async (closing) => {
      const drained = await consumer.close(closing);
      consumers.delete(consumer);
      return drained;
    };
    if (closed !== undefined) await close({ drainMs: 0 });
    assertOpen();
    consumers.add(consumer);
    return { pause: consumer.pause, resume: consumer.resume, close };
  }

  function assertOpen(): void {
    if (closed !== undefined) throw new HoldfastError('client-closed', 'The client is closed');
  }

  function assertGroup(topic: Topic, group: string): void {
    if (!groupsOf(topic.options).some(({ name }) => name === group) && !topologies.hasGroup(topic.name, group)) {
      throw new HoldfastError(
        'group-mismatch',
        `Topic "${topic.name}" declares no group "${group}"; it has ${
          groupsOf(topic.options)
            .map(({ name }) => `"${name}"`)
            .join(', ') || 'none'
        }`,
      );
    }
  }

  const client: Client = {
    publish,
    publishAll: (topic, payloads, optionsFor) =>
      Promise.all(
        payloads.map(async (payload, index): Promise<PublishResult> => {
          try {
            return { ok: true, receipt: await publish(topic, payload, optionsFor?.(payload, index)) };
          } catch (error) {
            return { ok: false, error: inputError(error, topic.name) };
          }
        }),
      ),
    async consume(topic, options, handler) {
      checkHandler(handler);
      const runner = eachRunner(handler as (message: Message, context: Context<unknown>) => unknown);
      return consume(topic, options, runner, {});
    },
    async consumeBatches(topic, options, handler) {
      checkHandler(handler);
      checkBatchOptions(options.batch);
      const runner = batchRunner(
        options.batch,
        handler as (messages: readonly Message[], context: BatchContext) => unknown,
      );
      return consume(topic, options, runner, { batch: object });
    },
    deadLetters(topic, group) {
      assertOpen();
      assertGroup(topic, group);
      const topology = topologies.of(topic);
      const store = adapter.deadLetters(topology, group);
      const ready = () => topologies.declareWithin(shapeOf(topic), { timeoutMs: DEFAULT_TIMEOUT_MS });
      return deadLettersOf({ store, topic, topology, group, source, maxBytes, ready, crashPoint });
    },
    async backlog(topic, group) {
      assertOpen();
      assertGroup(topic, group);
      const topology = await topologies.declareWithin(shapeOf(topic), { timeoutMs: DEFAULT_TIMEOUT_MS });
      try {
        return await adapter.backlog(topology, group);
      } catch (error) {
        throw fromAdapter(error, `read the backlog of group "${group}" of topic "${topic.name}"`);
      }
    },
    health: () => checkHealth({ adapter, publisher, consumers, spilled: drain?.state, closed: closed !== undefined }),
    on: (name, listener) => emitter.on(name, listener),
    async close(options = {}) {
      checkOptions('close', options, { drainMs: durationMs });
      // Handlers that still run may publish: else each deploy would fail what they do.
      accepting &&= closed !== undefined || consumers.size > 0;
      const refuse = (): void => {
        accepting = false;
      };
      closed ??= closeInOrder(
        { adapter, publisher, topologies, consumers, starting, stops, drain, closeStore, refuse },
        options.drainMs ?? 10_000,
      );
      return closed;
    },
    async [Symbol.asyncDispose]() {
      await client.close();
    },
  };
  setInternals(client, {
    emitter,
    crashPoint,
    async publishRow(row, shape, timeoutMs, abort) {
      const deadline = Date.now() + timeoutMs;
      const topology = await topologies.declareWithin(shape, { timeoutMs, signal: abort, publishing: true });
      return publisher.publish(routeRow(row, topology), deadline, abort);
    },
    async declareTopics(topics) {
      for (const topic of topics) await topologies.declareTopic(topic, { timeoutMs: DEFAULT_TIMEOUT_MS });
    },
    onClose(stop) {
      assertOpen();
      stops.add(stop);
      return () => stops.delete(stop);
    },
  });
  const drain =
    spill === undefined || publisher.spill === undefined
      ? undefined
      : createSpillDrain({ client, settings: spill, spill: publisher.spill, emitter });
  return client;
}
