/** Makes the client. Each method's steps live in a file of their own; here they are put together. */

import type { Client, Closed, Context, PublishResult } from './client.ts';
import { closeInOrder } from './close.ts';
import { type BatchContext, batchRunner } from './consume/batches.ts';
import { type Consumer, type ConsumerInternals, type ConsumerSetup, startConsumer } from './consume/consumer.ts';
import type { Runner } from './consume/context.ts';
import { eachRunner } from './consume/each.ts';
import { checkHalts, checkPatience, warnOfInbox } from './consume/fit.ts';
import { type ConsumeOptions, checkBatchOptions, consumePlan } from './consume/options.ts';
import { deadLettersOf } from './dead-letters.ts';
import { createTopologies } from './declare.ts';
import { DEFAULT_TIMEOUT_MS } from './declare-attempt.ts';
import { fromAdapter, HoldfastError, isHoldfastError, textOf } from './errors.ts';
import type { Emitter } from './events.ts';
import { checkHealth } from './health.ts';
import { type ClientInternals, setInternals } from './internals.ts';
import type { Message } from './message.ts';
import { checkOptions, describe, durationMs, OptionsError, object } from './options.ts';
import { createSpillDrain } from './outbox/spill-drain.ts';
import type { SpillSettings } from './outbox/spill-options.ts';
import { groupRates } from './policy/rate.ts';
import type { BrokerAdapter } from './port.ts';
import { DEFAULT_MAX_BYTES } from './publish/encode.ts';
import { createPublish } from './publish/publish.ts';
import type { Publisher } from './publish/publisher.ts';
import { routeRow } from './publish/route.ts';
import { groupsOf, shapeOf } from './shape.ts';
import type { Topic } from './topic.ts';

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
