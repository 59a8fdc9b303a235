/** The client as its users see it: what `connect` returns. */

import type { Consumer } from './consume/consumer.ts';
import type { BatchOptions, ConsumeOptions } from './consume/options.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { HoldfastError } from './errors.ts';
import type { EventName, Listener } from './events.ts';
import type { Health } from './health.ts';
import type { Message } from './message.ts';
import type { Backlog } from './port.ts';
import type { PublishOptions } from './publish/publish.ts';
import type { Receipt } from './publish/receipt.ts';
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

export interface Closed {
  /** Messages settled while draining. */
  readonly completed: number;
  /** Unsettled messages given back to the broker, no attempt spent. */
  readonly givenBack: number;
  /** Publishes and settlements whose outcome is not known. */
  readonly unknown: number;
  /** With `spill`: messages that wait in the store, of all its clients; undefined where the store does not say. */
  readonly spilled?: number | undefined;
}

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
