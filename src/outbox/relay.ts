/**
 * Publishes what outboxes hold: lease shards → read due rows → publish pipelined, per key in order → settle what was
 * confirmed, by one fenced statement. Any number of relays work side by side: a shard has one owner at a time.
 */

import { randomUUID } from 'node:crypto';
import { type Client, type ClientInternals, internalsOf } from '../client.ts';
import { isHoldfastError, messageOf, redact } from '../errors.ts';
import { type Check, checkOptions, count, object, positiveMs } from '../options.ts';
import type { Outbox, OutboxRow, OutboxShape, RowSettlement, ShardLease } from '../port.ts';
import { createPace } from './pace.ts';

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
  /** Finishes the batch under way, releases the leases. Idempotent. */
  stop(): Promise<void>;
}

type Settled = RowSettlement & { readonly shard: number };

const CHECKS: Readonly<Record<keyof RelayOptions<unknown>, Check>> = {
  client: object,
  outbox: object,
  batchSize: count(1, 10_000),
  leaseMs: (value) => positiveMs(value) ?? ((value as number) < 500 ? 'must be at least 500' : undefined),
  maxIdleMs: positiveMs,
  timeoutMs: positiveMs,
};

/** A relay for one outbox and one client. It does nothing until `start`. */
export function createRelay<Tx>(options: RelayOptions<Tx>): Relay {
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
    leasedUntil = askedAt + leaseMs;
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

  /** Each loop has half of the shards, so that one reads and settles while the other publishes. */
  async function loop(half: 0 | 1): Promise<void> {
    const pace = paces[half];
    while (!stopping) {
      // Past its end a lease may be somebody else's: what we would publish, they publish too.
      const mine = performance.now() < leasedUntil ? leases.filter(({ shard }) => shard % 2 === half) : [];
      try {
        const rows = mine.length === 0 ? [] : await store.read(mine, batchSize);
        if (rows.length > 0) await relayBatch(rows, mine);
        await pace.next(rows.length > 0, () => stopping);
      } catch (error) {
        inside.emitter.emit('error', { during: 'relay a batch of outbox rows', error });
        await pace.failed(() => stopping);
      }
    }
  }

  async function relayBatch(rows: readonly OutboxRow[], mine: readonly ShardLease[]): Promise<void> {
    const settlements = await publishRows(rows, inside, timeoutMs);
    if (settlements.length === 0) return;
    await inside.crashPoint?.('relay:confirmed');
    await store.settle(mine, settlements);
    await inside.crashPoint?.('relay:settled');
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
    unregister = inside.onClose(() => relay.stop());
    try {
      await lease();
    } catch (error) {
      unregister();
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

/** A definition is stored once and shared by its rows, so it is parsed once. */
const shapes = new Map<string, OutboxShape>();

function shapeOf(row: OutboxRow): OutboxShape {
  const known = shapes.get(row.shape);
  if (known !== undefined) return known;
  const shape = JSON.parse(row.shape) as OutboxShape;
  shapes.set(row.shape, shape);
  return shape;
}

/** What became of each row; rows that are simply to be tried again are not among them. */
async function publishRows(
  rows: readonly OutboxRow[],
  inside: ClientInternals,
  timeoutMs: number,
): Promise<readonly Settled[]> {
  const chains: OutboxRow[][] = [];
  const byKey = new Map<string, OutboxRow[]>();
  for (const row of rows) {
    // A failed message lets its successors go when publishing; here it was accepted, so its key waits for it (G5).
    const ordered = row.key !== undefined && shapeOf(row).groups.some((group) => group.ordered);
    const name = `${row.topic}\n${row.key ?? ''}`;
    const chain = ordered ? byKey.get(name) : undefined;
    if (chain !== undefined) chain.push(row);
    else {
      const made = [row];
      chains.push(made);
      if (ordered) byKey.set(name, made);
    }
  }
  const settled = await Promise.all(chains.map((chain) => publishChain(chain, inside, timeoutMs)));
  return settled.flat();
}

async function publishChain(
  chain: readonly OutboxRow[],
  inside: ClientInternals,
  timeoutMs: number,
): Promise<readonly Settled[]> {
  const settled: Settled[] = [];
  for (const row of chain) {
    const settlement = await publishRow(row, inside, timeoutMs);
    if (settlement === undefined) break;
    settled.push(settlement);
    if (settlement.kind !== 'sent') break;
  }
  return settled;
}

const PARKED: readonly string[] = [
  'unroutable',
  'publish-rejected',
  'message-too-large',
  'topology-conflict',
  'topology-missing',
  'access-refused',
  'unsupported',
];

async function publishRow(row: OutboxRow, inside: ClientInternals, timeoutMs: number): Promise<Settled | undefined> {
  const { rowId, shard } = row;
  const shape = shapeOf(row);
  if (row.expiresInMs !== undefined && row.addedAt + row.expiresInMs <= Date.now()) {
    if (shape.onExpired !== 'drop') return { rowId, shard, kind: 'park', reason: 'expired' };
    inside.emitter.emit('dropped', { topic: row.topic, group: '', id: row.id, reason: 'expired' });
    return { rowId, shard, kind: 'sent' };
  }
  try {
    await inside.publishRow(row, shape, timeoutMs);
    return { rowId, shard, kind: 'sent' };
  } catch (error) {
    const code = isHoldfastError(error) ? error.code : 'adapter-failed';
    if (PARKED.includes(code))
      return { rowId, shard, kind: 'park', reason: `${code}: ${redact(messageOf(error))}`.slice(0, 500) };
    inside.emitter.emit('error', { during: `relay message ${row.id} to "${row.topic}"`, error });
    return {
      rowId,
      shard,
      kind: 'later',
      delayMs: Math.min(2_000, 100 * 2 ** Math.min(row.attempts, 5)),
      reason: code,
    };
  }
}
