/** The adapter itself, and what it is given and may throw. */

import type { Capabilities } from './capabilities.ts';
import type { Receive, Source, Subscription } from './consume.ts';
import type { DeadLetterStore } from './dead-letters.ts';
import type { Outgoing, PublishOutcome, Topology } from './message.ts';

/** Unknown is undefined, never 0 (S30). */
export interface Backlog {
  readonly ready: number | undefined;
  readonly inFlight: number | undefined;
  readonly delayed: number | undefined;
  readonly dead: number | undefined;
  readonly oldestAgeMs: number | undefined;
  /** Whether every defined number is exact rather than an estimate. */
  readonly exact: boolean;
}

export interface AdapterHealth {
  readonly connected: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail?: string }[];
}

export interface AdapterHooks {
  /** Unique to this client in this process. */
  readonly instance: string;
  /** Shown to the broker where it has a field for that. */
  readonly clientName: string;
  /** `create` what is missing; `verify` that it is there; `none`: trust. */
  readonly declare: 'create' | 'verify' | 'none';
  /** Observation only. Details never hold secrets or payloads. */
  emit(event: AdapterEvent): void;
  /** Test runs kill the process here (S37); undefined in production. */
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
}
export type AdapterEvent =
  | { readonly type: 'connected' | 'disconnected' | 'blocked' | 'unblocked'; readonly detail?: string }
  | { readonly type: 'warning'; readonly code: string; readonly detail: string };

export interface BrokerAdapter {
  readonly name: string;
  readonly capabilities: Capabilities;
  /** Opens connections; afterwards they are kept and restored by the adapter until `close`. Rejects if the broker cannot be reached. */
  connect(hooks: AdapterHooks): Promise<void>;
  /** Idempotent. Throws on an existing object that is incompatible. Remembered, and declared again after a reconnect. */
  declare(topology: Topology): Promise<void>;
  /** One outcome per message, in order, by `deadline` (epoch milliseconds). Every topology was declared before. */
  publish(
    batch: readonly Outgoing[],
    limit: { readonly deadline: number; readonly signal: AbortSignal },
  ): Promise<readonly PublishOutcome[]>;
  subscribe(subscription: Subscription, receive: Receive): Promise<Source>;
  deadLetters(topology: Topology, group: string): DeadLetterStore;
  backlog(topology: Topology, group: string): Promise<Backlog>;
  health(): Promise<AdapterHealth>;
  /** Whether trying again may help: a lost connection, an overloaded broker. Not: a refused login, an illegal name. */
  isTransient(error: unknown): boolean;
  close(): Promise<void>;
}

/** What an adapter may throw beside its client's own errors: the core turns it into a HoldfastError with this code. */
export interface AdapterError {
  readonly adapterCode:
    | 'missing-peer'
    | 'broker-unreachable'
    | 'access-refused'
    | 'topology-conflict'
    | 'topology-missing'
    | 'invalid-option'
    | 'message-too-large'
    | 'unsupported'
    | 'busy';
  readonly message: string;
  readonly cause?: unknown;
}
