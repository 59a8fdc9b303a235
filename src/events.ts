/** Typed observation points: metrics, tracing and logging are built on these alone. */

import type { AdapterEvent, Priority } from './port.ts';

export interface Events {
  /** The adapter's connection: lost, restored, blocked by the broker. */
  readonly connection: {
    readonly state: 'connected' | 'disconnected' | 'blocked' | 'unblocked';
    readonly detail?: string;
  };
  /** Something that works but should be changed; `code` is stable. */
  readonly warning: { readonly code: string; readonly detail: string };
  /** A publish call to the adapter ended. One event per batch. */
  readonly published: {
    readonly topic: string;
    readonly confirmed: number;
    readonly failed: number;
    readonly durationMs: number;
  };
  /** Messages go to the adapter again. */
  readonly 'publish-retry': {
    readonly topic: string;
    readonly count: number;
    readonly attempt: number;
    readonly error: unknown;
  };
  /** A circuit changed: that of publishing to the topic, or with `group` that of a consumer. */
  readonly breaker: {
    readonly topic: string;
    readonly group?: string;
    readonly state: 'open' | 'half-open' | 'closed';
  };
  /** A handler returned. */
  readonly handled: {
    readonly topic: string;
    readonly group: string;
    readonly id: string;
    readonly attempt: number;
    readonly durationMs: number;
    readonly lane: Priority;
  };
  /** A handler threw or ran out of time. */
  readonly failed: {
    readonly topic: string;
    readonly group: string;
    readonly id: string;
    readonly attempt: number;
    readonly error: unknown;
    readonly next: 'retry' | 'dead-letter';
  };
  readonly 'dead-lettered': {
    readonly topic: string;
    readonly group: string;
    readonly id: string;
    readonly reason: string;
    readonly attempts: number;
  };
  /** Dropped: expired where the topic says so. */
  readonly dropped: { readonly topic: string; readonly group: string; readonly id: string; readonly reason: 'expired' };
  /** Not handled again: inbox or dedupe knew it. */
  readonly duplicate: { readonly topic: string; readonly group: string; readonly id: string };
  /** In an ordered group, a shard stands still: `count` messages wait in memory behind keys that are being retried (S22). */
  readonly held: { readonly topic: string; readonly group: string; readonly shard: number; readonly count: number };
  /** Settlements that did not take effect; the messages may come again. */
  readonly unsettled: {
    readonly topic: string;
    readonly group: string;
    readonly stale: number;
    readonly unknown: number;
  };
  /** The broker is away: messages were stored instead (S16). `bytes` are those of their bodies. */
  readonly spilled: { readonly topic: string; readonly count: number; readonly bytes: number };
  /** No spilled message is left in the store: all were sent or parked, by whichever relay. */
  readonly 'spill-drained': { readonly durationMs: number };
  /** The relay settled a batch of outbox rows. */
  readonly relayed: { readonly sent: number; readonly later: number; readonly parked: number };
  /** A background step failed and will be tried again. */
  readonly error: { readonly during: string; readonly error: unknown };
}
export type EventName = keyof Events;
export type Listener<N extends EventName> = (event: Events[N]) => void;

export interface Emitter {
  /** Calls `listener` for each event. A listener that throws is ignored. Returns the unsubscriber. */
  on<N extends EventName>(name: N, listener: Listener<N>): () => void;
  emit<N extends EventName>(name: N, event: Events[N]): void;
  /** Whether anybody listens, so that the hot path need not build events. */
  listens(name: EventName): boolean;
}

export function createEmitter(): Emitter {
  const listeners = new Map<EventName, Set<(event: never) => void>>();
  return {
    on(name, listener) {
      const set = listeners.get(name) ?? new Set();
      listeners.set(name, set);
      set.add(listener as (event: never) => void);
      return () => set.delete(listener as (event: never) => void);
    },
    emit(name, event) {
      for (const listener of listeners.get(name) ?? []) {
        try {
          (listener as (event: unknown) => void)(event);
        } catch {
          // An observer must not be able to break what it observes.
        }
      }
    },
    listens: (name) => (listeners.get(name)?.size ?? 0) > 0,
  };
}

/** Forwards what an adapter reports. */
export function adapterEvents(emitter: Emitter): (event: AdapterEvent) => void {
  return (event) => {
    if (event.type === 'warning') emitter.emit('warning', { code: event.code, detail: event.detail });
    else
      emitter.emit(
        'connection',
        event.detail === undefined ? { state: event.type } : { state: event.type, detail: event.detail },
      );
  };
}
