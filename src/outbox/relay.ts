/**
 * Publishes what outboxes hold: lease shards → read due rows → publish pipelined, per key in order → settle what was
 * confirmed, by one fenced statement. Any number of relays work side by side: a shard has one owner at a time.
 */

import { randomUUID } from 'node:crypto';
import type { Client } from '../client.ts';
import { internalsOf } from '../internals.ts';
import { type Check, checkOptions, count, object, positiveMs } from '../options.ts';
import { withRetries } from '../policy/retry.ts';
import type { Outbox, ShardLease } from '../port.ts';
import { createFlight, type Settled } from './flight.ts';
import { createPace } from './pace.ts';
import { chainOf, publishRow } from './publish-row.ts';

export interface RelayOptions<Tx> {
  readonly client: Client;
  readonly outbox: Outbox<Tx>;
  /** Most rows read and published at once. @default 500 */
  readonly batchSize?: number;
  /** After a relay died, others take over its shards within this time. @default 10_000 */
  readonly leaseMs?: number;
  /** Longest pause between two looks at an idle outbox. @default 1_000 */
  readonly maxIdleMs?: number;
  /** By then one publish has an outcome. @default 30_000 */
  readonly timeoutMs?: number;
}

export interface Relay {
  /** Begins to work; resolves when the first leases are held. */
  start(): Promise<void>;
  /** Finishes what is on its way, releases the leases. Idempotent. */
  stop(): Promise<void>;
}

/** When a batch takes longer than this to be confirmed, more is read beside it: a slow topic holds up itself alone. */
const SLOW_MS = 100;
/** Most batches read and not settled, per loop. */
const MOST_BATCHES = 4;
/** Rows whose deletion fails would be published again: the deletion is tried again first. */
const SETTLE_BACKOFF = { retries: 8, firstMs: 50, factor: 2, maxMs: 2_000, jitter: true };

const CHECKS: Readonly<Record<keyof RelayOptions<unknown>, Check>> = {
  client: object,
  outbox: object,
  batchSize: count(1, 10_000),
  leaseMs: (value) => positiveMs(value) ?? ((value as number) < 500 ? 'must be at least 500' : undefined),
  maxIdleMs: positiveMs,
  timeoutMs: positiveMs,
};

/** What a relay does otherwise when it works for a client that spills. */
export interface RelayWays {
  /** Most rows to be read now, 0 for none. @default `size` */
  most?(size: number, inFlight: number): number;
  /** Some of them are on their way. */
  launched?(): void;
  /** Gives up what is on its way to the broker; its rows stay as they are. Who has one also stops the relay before its client closes. */
  readonly signal?: AbortSignal;
  settled?(settlements: readonly Settled[], rowIds: readonly string[]): void;
}

/** A relay for one outbox and one client. It does nothing until `start`. */
export function createRelay<Tx>(options: RelayOptions<Tx>): Relay {
  return relayBy(options, {});
}

/** Of an outbox, a relay needs its own side alone. */
type RelaySetup = Omit<RelayOptions<never>, 'outbox'> & { readonly outbox: Pick<Outbox<never>, 'relay'> };

export function relayBy(options: RelaySetup, ways: RelayWays): Relay {
  checkOptions('createRelay', options, CHECKS);
  const { client, outbox, batchSize = 500, leaseMs = 10_000, maxIdleMs = 1_000, timeoutMs = 30_000 } = options;
  const store = outbox?.relay;
  if (store === undefined) throw new TypeError('createRelay: "outbox" must be the outbox of a store');
  const inside = internalsOf(client);
  const owner = randomUUID();
  // One for each loop: a wake-up that one of them has heard must not be lost to the other.
  const paces = [createPace(maxIdleMs), createPace(maxIdleMs)] as const;
  let leases: readonly ShardLease[] = [];
  let leasedUntil = 0;
  // How far the database's clock is ahead of our monotonic one.
  let storeAheadMs: number | undefined;
  // Also of shards handed over: what we published of them may be deleted until somebody else takes them.
  const everHeld = new Map<number, ShardLease>();
  let stopping = false;
  let starting: Promise<void> | undefined;
  let beating: Promise<void> | undefined;
  let heartbeat: NodeJS.Timeout | undefined;
  let unsubscribe: (() => void) | undefined;
  let unregister: (() => void) | undefined;
  let loops: Promise<unknown> | undefined;
  let stopped: Promise<void> | undefined;

  async function lease(): Promise<void> {
    const askedAt = performance.now();
    const before = leases.length;
    leases = await store.lease(owner, leaseMs);
    if (inside.crashPoint !== undefined) await inside.crashPoint('relay:leased');
    leasedUntil = askedAt + leaseMs;
    for (const each of leases) everHeld.set(each.shard, each);
    if (leases.length > before) wake();
  }

  function wake(): void {
    for (const pace of paces) pace.wake();
  }

  async function beat(): Promise<void> {
    try {
      await lease();
    } catch (error) {
      inside.emitter.emit('error', { during: "renew the relay's leases", error });
    }
    if (!stopping) beatLater();
  }

  function beatLater(): void {
    heartbeat = setTimeout(() => {
      beating = beat();
    }, leaseMs / 3);
  }

  /** Each loop has half of the shards, so that one reads while the other waits for confirms. */
  async function loop(half: 0 | 1): Promise<void> {
    const pace = paces[half];
    const flight = createFlight({
      chainOf,
      publish: async (row) =>
        begins(row.shard) ? publishRow(row, inside, timeoutMs, storeNow(), ways.signal) : undefined,
      async settle(settlements) {
        await inside.crashPoint?.('relay:confirmed');
        const rowIds = await withRetries(
          () => store.settle([...everHeld.values()], settlements),
          SETTLE_BACKOFF,
          () => true,
        );
        await inside.crashPoint?.('relay:settled');
        report(settlements);
        ways.settled?.(settlements, rowIds);
        pace.wake();
      },
      failed: (error) => inside.emitter.emit('error', { during: 'settle outbox rows', error }),
    });
    while (!stopping) {
      const mine = held().filter(({ shard }) => shard % 2 === half);
      const full = flight.size >= batchSize * MOST_BATCHES;
      try {
        const most = ways.most === undefined ? batchSize : ways.most(batchSize, flight.size);
        flight.reading();
        const rows = mine.length === 0 || full || most === 0 ? [] : await store.read(mine, most + flight.size);
        if (rows[0]?.readAt !== undefined) storeAheadMs = rows[0].readAt - performance.now();
        if (rows.length > 0 && inside.crashPoint !== undefined) await inside.crashPoint('relay:read');
        const launched = flight.launch(rows);
        if (launched > 0) {
          ways.launched?.();
          await flight.landed(SLOW_MS);
        }
        await pace.next(launched > 0, () => stopping);
      } catch (error) {
        inside.emitter.emit('error', { during: 'read outbox rows', error });
        await pace.failed(() => stopping);
      }
    }
    await flight.landed(timeoutMs + 1_000);
  }

  const storeNow = (): number => (storeAheadMs === undefined ? Date.now() : performance.now() + storeAheadMs);
  /** Past its end a lease may be somebody else's: what we would publish, they publish too. */
  const held = (): readonly ShardLease[] => (performance.now() < leasedUntil ? leases : []);
  /** Asked before each row: behind a slow one of its key, others may have waited for long. */
  const begins = (shard: number): boolean => !stopping && held().some((lease) => lease.shard === shard);

  function report(settlements: readonly Settled[]): void {
    const of = (kind: Settled['kind']): number => settlements.filter((settlement) => settlement.kind === kind).length;
    inside.emitter.emit('relayed', { sent: of('sent'), later: of('later'), parked: of('park') });
  }

  async function stop(): Promise<void> {
    stopping = true;
    // What is asked for now would be held after the release, and by nobody.
    await starting?.catch(() => undefined);
    clearTimeout(heartbeat);
    wake();
    unsubscribe?.();
    unregister?.();
    await Promise.all([loops, beating]);
    if (leasedUntil > 0)
      await store
        .release(owner)
        .catch((error: unknown) => inside.emitter.emit('error', { during: "release the relay's leases", error }));
  }

  async function start(): Promise<void> {
    if (ways.signal === undefined) unregister = inside.onClose(() => relay.stop());
    try {
      await lease();
    } catch (error) {
      unregister?.();
      throw error;
    }
    if (stopping) return;
    beatLater();
    unsubscribe = store.onWake(wake);
    loops = Promise.all([loop(0), loop(1)]);
  }

  const relay: Relay = {
    async start() {
      if (stopping || starting !== undefined) throw new TypeError('A relay starts once: create another');
      starting = start();
      try {
        await starting;
      } catch (error) {
        // The database was away: it may be started again.
        starting = undefined;
        throw error;
      }
    },
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
  return relay;
}
