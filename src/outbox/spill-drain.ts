/**
 * Sends what was spilled, by this client or by one that is gone: while the store holds any spilled message, the client is
 * a relay of its store, with leases and fencing like any other. It sends past the spill, so nothing is spilled twice.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../client.ts';
import type { Emitter } from '../events.ts';
import type { SpillState } from '../port.ts';
import type { Spill } from '../publish/spill.ts';
import { within } from '../within.ts';
import { type Relay, type RelayWays, relayBy } from './relay.ts';
import type { SpillSettings } from './spill-options.ts';

export interface SpillDrain {
  /** What the store holds now, or undefined where it does not say so within a second. */
  state(): Promise<SpillState | undefined>;
  /** Goes on sending while that gets anywhere, at most so long; then lets go of what is left. */
  stop(ms: number): Promise<void>;
}

export interface SpillDrainOptions {
  readonly client: Client;
  readonly settings: SpillSettings;
  readonly spill: Spill;
  readonly emitter: Emitter;
}

/** With nothing spilled as far as we know: another client may have died and left something. */
const IDLE_LOOK_MS = 5_000;
const BUSY_LOOK_MS = 200;
const AWAY_LOOK_MS = 1_000;
/** A broker that is away is tried by one row at a time. */
const PROBE_EVERY_MS = 1_000;
/** Shorter than a user's relay would give it, so that a topic that is down lets the others pass. */
const TIMEOUT_MS = 10_000;
const MOST_ROWS_ASKED = 1_000;
/** Rows that nobody gets anywhere with for so long do not keep `close` waiting. */
const STALLED_MS = 1_000;

export function createSpillDrain({ client, settings, spill, emitter }: SpillDrainOptions): SpillDrain {
  const stop = new AbortController();
  let relay: Relay | undefined;
  /** Relays that are being stopped still use the store. */
  let ending: Promise<unknown> = Promise.resolve();
  let rows = 0;
  let drainingSince: number | undefined;
  /** When a row last failed, if none was sent since; by the monotonic clock. */
  let failedAt: number | undefined;
  let probeAt = 0;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;

  const stuck = (): boolean => spill.outages.cutOff || (failedAt !== undefined && spill.outages.provedAt <= failedAt);

  const ways: RelayWays = {
    signal: stop.signal,
    most(size, inFlight) {
      if (!stuck()) return size;
      return inFlight > 0 || performance.now() < probeAt ? 0 : 1;
    },
    launched() {
      probeAt = performance.now() + PROBE_EVERY_MS;
    },
    settled(settlements, rowIds) {
      const gone = settlements.filter(({ kind }) => kind !== 'later');
      failedAt = gone.length === 0 ? performance.now() : undefined;
      const settled = new Set(rowIds);
      spill.chains.gone(gone.map(({ rowId }) => rowId).filter((rowId) => settled.has(rowId)));
    },
  };

  async function look(): Promise<void> {
    try {
      note(await spill.writer.measure());
      if (rows > 0) await begin();
      const asked = spill.chains.rows(MOST_ROWS_ASKED);
      if (asked.length > 0) {
        // Those of shards that another relay has.
        const left = new Set(await settings.spill.left(asked));
        spill.chains.gone(asked.map(({ rowId }) => rowId).filter((rowId) => !left.has(rowId)));
      }
    } catch (error) {
      emitter.emit('error', { during: 'look after spilled messages', error });
    }
  }

  function note(state: SpillState): void {
    rows = state.rows;
    if (rows > 0) {
      drainingSince ??= performance.now();
    } else if (drainingSince !== undefined) {
      emitter.emit('spill-drained', { durationMs: performance.now() - drainingSince });
      drainingSince = undefined;
      end();
    }
  }

  async function begin(): Promise<void> {
    if (relay !== undefined || stop.signal.aborted) return;
    failedAt = spill.outages.anyAway ? performance.now() : undefined;
    const begun = relayBy({ client, outbox: settings.outbox, timeoutMs: TIMEOUT_MS, maxIdleMs: BUSY_LOOK_MS }, ways);
    relay = begun;
    try {
      await begun.start();
    } catch (error) {
      relay = undefined;
      throw error;
    }
  }

  function end(): void {
    if (relay === undefined) return;
    const ended = relay.stop().catch((error: unknown) => {
      emitter.emit('error', { during: 'end the relay of spilled messages', error });
    });
    ending = Promise.all([ending, ended]);
    relay = undefined;
  }

  function lookLater(ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(lookNow, ms).unref();
  }

  function lookNow(): void {
    if (looking !== undefined || stop.signal.aborted) return;
    looking = look().finally(() => {
      looking = undefined;
      const busy = rows > 0 || spill.chains.rows(1).length > 0;
      if (!stop.signal.aborted) lookLater(!busy ? IDLE_LOOK_MS : stuck() ? AWAY_LOOK_MS : BUSY_LOOK_MS);
    });
  }

  const unsubscribe = spill.onStored(() => {
    if (rows > 0) return;
    rows = 1;
    lookLater(0);
  });
  lookLater(0);

  return {
    async state() {
      let state: SpillState | undefined;
      await within(
        STALLED_MS,
        spill.writer.measure().then(
          (measured) => {
            state = measured;
          },
          () => undefined,
        ),
      );
      return state;
    },
    async stop(ms) {
      const endAt = performance.now() + ms;
      let least = Number.POSITIVE_INFINITY;
      let movedAt = performance.now();
      while (rows > 0 && !stuck() && performance.now() < endAt && performance.now() - movedAt < STALLED_MS) {
        if (rows < least) {
          least = rows;
          movedAt = performance.now();
        }
        await sleep(20);
        await looking;
        await look();
      }
      stop.abort();
      unsubscribe();
      clearTimeout(timer);
      await looking;
      end();
      await ending;
    },
  };
}
