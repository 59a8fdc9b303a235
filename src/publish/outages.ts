/**
 * Which topics' broker is away.
 *
 * A topic is in *trouble* from its first failure by the connection, or while its adapter says that it is cut off, until
 * something is confirmed or the adapter is connected again. When that has lasted `patienceMs`, or its circuit is open, its
 * broker is *away*.
 */

import type { Emitter } from '../events.ts';
import type { Pending } from './queue.ts';

/** What is needed to know of a topic's way out. */
export interface Way {
  readonly topic: string;
  readonly breaker: { readonly open: boolean };
}

export interface Outages {
  readonly any: boolean;
  readonly anyAway: boolean;
  /** The adapter says that it is cut off, and nothing was confirmed since. */
  readonly cutOff: boolean;
  /** When the broker last showed that it is there, while something was wrong; by the monotonic clock. */
  readonly provedAt: number;
  has(topic: string): boolean;
  isAway(way: Way): boolean;
  /** An attempt failed. */
  failed(topic: string): void;
  succeeded(topic: string): void;
  /** It is away, whatever the time: its circuit has opened, or it cannot be declared, for which there is an error. */
  leave(topic: string, undeclared?: unknown): void;
  undeclared(topic: string): unknown;
  /** Whether it is time to try whether the broker is back; then it is not for a second. */
  mayProbe(topic: string): boolean;
  /** This one tries; when its second is over, `onLeave` is called again. */
  probeBy(pending: Pending): void;
  probeOf(topic: string): Pending | undefined;
  close(): void;
}

export interface OutagesOptions {
  readonly patienceMs: number;
  readonly emitter: Emitter;
  /** Topics for which messages are on their way. */
  busy(): Iterable<string>;
  /** What waits for this topic's broker, or tries it, has waited long enough. */
  onLeave(topic: string): void;
}

interface Trouble {
  /** By the monotonic clock. */
  readonly since: number;
  away: boolean;
  probeAt: number;
  probe: Pending | undefined;
  undeclared: unknown;
}

const PROBE_EVERY_MS = 1_000;

export function createOutages({ patienceMs, emitter, busy, onLeave }: OutagesOptions): Outages {
  const troubles = new Map<string, Trouble>();
  let cutOff = false;
  let provedAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;

  const unsubscribe = emitter.on('connection', ({ state }) => {
    cutOff = state === 'disconnected' || state === 'blocked';
    if (cutOff) {
      for (const topic of busy()) begin(topic);
    } else {
      troubles.clear();
      provedAt = performance.now();
    }
  });

  function begin(topic: string): Trouble {
    let trouble = troubles.get(topic);
    if (trouble === undefined) {
      trouble = { since: performance.now(), away: false, probeAt: 0, probe: undefined, undeclared: undefined };
      troubles.set(topic, trouble);
      lookLater();
    }
    return trouble;
  }

  function leave(topic: string, undeclared: unknown): void {
    const trouble = begin(topic);
    trouble.undeclared ??= undeclared;
    if (trouble.away) return;
    trouble.away = true;
    trouble.probeAt = performance.now() + PROBE_EVERY_MS;
    onLeave(topic);
  }

  function lookLater(): void {
    timer ??= setTimeout(look, Math.min(250, Math.max(5, patienceMs / 4))).unref();
  }

  function look(): void {
    timer = undefined;
    const now = performance.now();
    for (const [topic, trouble] of troubles) {
      if (!trouble.away) {
        if (now - trouble.since >= patienceMs) leave(topic, undefined);
      } else if (trouble.probe !== undefined && now >= trouble.probeAt) {
        trouble.probe = undefined;
        onLeave(topic);
      }
    }
    if (troubles.size > 0) lookLater();
  }

  return {
    get any() {
      return cutOff || troubles.size > 0;
    },
    get anyAway() {
      return cutOff || [...troubles.values()].some(({ away }) => away);
    },
    get cutOff() {
      return cutOff;
    },
    get provedAt() {
      return provedAt;
    },
    has: (topic) => troubles.has(topic),
    isAway({ topic, breaker }) {
      if (!breaker.open && !cutOff && !troubles.has(topic)) return false;
      const trouble = begin(topic);
      if (breaker.open || performance.now() - trouble.since >= patienceMs) leave(topic, undefined);
      return trouble.away;
    },
    failed(topic) {
      const trouble = begin(topic);
      // What was probing has its answer.
      if (trouble.away) onLeave(topic);
    },
    succeeded(topic) {
      cutOff = false;
      troubles.delete(topic);
      provedAt = performance.now();
    },
    leave,
    undeclared: (topic) => troubles.get(topic)?.undeclared,
    mayProbe(topic) {
      const trouble = begin(topic);
      const now = performance.now();
      if (now < trouble.probeAt) return false;
      trouble.probeAt = now + PROBE_EVERY_MS;
      return true;
    },
    probeBy(pending) {
      begin(pending.outgoing.topology.topic).probe = pending;
    },
    probeOf: (topic) => troubles.get(topic)?.probe,
    close() {
      clearTimeout(timer);
      unsubscribe();
    },
  };
}
