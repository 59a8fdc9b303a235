import type {
  AdapterHooks,
  Delivery,
  Headers,
  Priority,
  Receive,
  Settlement,
  SettleOutcome,
  Source,
  Subscription,
} from '../../src/port.ts';
import type { Claims } from './claims.ts';
import { createFetch } from './fetch.ts';
import { LANE_NUMBERS, laneNumber } from './headers.ts';
import type { Owners } from './owners.ts';
import { createOwnership } from './ownership.ts';
import type { Handle, Mark, SettleBatch } from './settle.ts';
import type { ShardLeases } from './shards.ts';
import type { GroupRow } from './topology.ts';
import type { Writer } from './writer.ts';

/** What every subscription of one adapter uses. */
export interface Shared {
  readonly writer: Writer;
  readonly owners: Owners;
  readonly claims: Claims;
  readonly leases: ShardLeases;
  readonly settleBatch: SettleBatch;
  readonly mark: Mark;
  readonly hooks: AdapterHooks;
}

export interface SqliteSource extends Source {
  /** There may be something to deliver. */
  wake(): void;
  /** Somebody else committed: owners may have come or gone. */
  changed(): void;
}

/** Longest wait of a Node timer. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Before a fetch that failed is tried again. */
const FAILED_MS = 1_000;

/** Joins the group: a row among the owners, leases by its number, and fetches whenever there is room and news. */
export async function subscribe(
  shared: Shared,
  group: GroupRow,
  subscription: Subscription,
  receive: Receive,
): Promise<SqliteSource> {
  const { writer, owners, claims, leases, settleBatch, hooks } = shared;
  const { leaseMs } = subscription;
  const owner = await writer.write(() => owners.add(group.id, Date.now() + leaseMs), { durable: false, notify: true });
  const fetch = createFetch({ subscription, group, owner, claims, leases });
  const paused = new Set<number>();
  const everything: ReadonlyMap<number, number> = new Map([[0, owner]]);
  let token = 0;
  let stopped: Promise<void> | undefined;
  let news = false;
  let fetching = false;
  let dueTimer: NodeJS.Timeout | undefined;

  const ownership = createOwnership({
    group: group.id,
    owner,
    leaseMs,
    writer,
    owners,
    leases,
    changed: wake,
    ended: fetch.forget,
    revoked(epoch) {
      if (stopped === undefined) receive.revoked(epoch);
    },
  });

  function warn(what: string, error: unknown): void {
    hooks.emit({
      type: 'warning',
      code: `sqlite-${what}-failed`,
      detail: `${subscription.topology.topic}:${group.name}: ${error instanceof Error ? error.message : String(error)}`,
    });
  }

  function wake(): void {
    news = true;
    if (!fetching && stopped === undefined) void fetchAll();
  }

  async function fetchAll(): Promise<void> {
    fetching = true;
    try {
      while (news && stopped === undefined) {
        news = false;
        const lines = fetch.lines(group.ordered ? ownership.open() : everything, paused);
        if (fetch.any(lines)) await fetchOnce();
        else waitForDue();
      }
    } catch (error) {
      warn('fetch', error);
      wakeIn(FAILED_MS);
    } finally {
      fetching = false;
    }
  }

  async function fetchOnce(): Promise<void> {
    token += 1;
    // Which lines have room is asked again under the lock: it may have been waited for.
    const { deliveries, lost, more } = await writer.write(
      () => fetch.claim(fetch.lines(group.ordered ? ownership.open() : everything, paused), token),
      { durable: false, notify: false },
    );
    await hooks.crashPoint?.('sqlite:claim-committed');
    // What was claimed for a source that has stopped meanwhile is released by its stop.
    if (stopped !== undefined) return;
    for (const { shard, epoch } of lost) ownership.lose(shard, epoch);
    if (deliveries.length > 0) {
      fetch.count(deliveries, 1);
      receive.deliver(deliveries);
    }
    // A prefetch may exceed what one transaction claims; and the delayed may be due while nothing else is left.
    news ||= more || deliveries.length > 0;
  }

  function waitForDue(): void {
    const now = Date.now();
    const due = claims.nextDue(group.id, now);
    if (due !== undefined) wakeIn(due - now);
  }

  function wakeIn(ms: number): void {
    clearTimeout(dueTimer);
    if (stopped === undefined) dueTimer = setTimeout(wake, Math.min(Math.max(ms, 1), MAX_TIMER_MS));
  }

  function balance(why: 'look' | 'renew'): void {
    if (stopped !== undefined || !group.ordered) return;
    ownership.balance(why).catch((error: unknown) => warn('lease', error));
  }

  async function settle(batch: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const open = batch.filter(({ delivery }) => (delivery.handle as Handle).open && stopped === undefined);
    // From here on they are settled or lost; a second settlement of the same delivery is stale in any case.
    for (const { delivery } of open) (delivery.handle as Handle).open = false;
    const outcomes = open.length === 0 ? [] : await settleOpen(open);
    const of = new Map(open.map((settlement, index) => [settlement, outcomes[index]!]));
    return batch.map((settlement) => of.get(settlement) ?? 'stale');
  }

  async function settleOpen(batch: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const deliveries = batch.map(({ delivery }) => delivery);
    try {
      const notify = batch.some(({ kind }) => kind !== 'done');
      const outcomes = await writer.write(() => settleBatch(batch), { durable: true, notify });
      await hooks.crashPoint?.('sqlite:settle-committed');
      return outcomes;
    } catch (error) {
      warn('settle', error);
      // In an ordered group what was not settled must come again before its successors: under a new epoch, from the start.
      if (group.ordered) for (const { shard, epoch } of deliveries) ownership.lose(shard, epoch);
      return batch.map(() => 'unknown');
    } finally {
      fetch.count(deliveries, -1);
      if (ownership.draining()) balance('look');
      wake();
    }
  }

  async function leave(): Promise<void> {
    clearTimeout(dueTimer);
    clearInterval(heartbeat);
    try {
      await writer.write(() => owners.release(owner), { durable: false, notify: true });
    } catch (error) {
      // Nothing is lost by it: what is held is free when its leases run out.
      warn('stop', error);
    }
  }

  const heartbeat = setInterval(
    () => {
      if (group.ordered) {
        balance('renew');
      } else {
        writer
          .write(() => owners.renew(owner, group.id, Date.now() + leaseMs), { durable: false, notify: false })
          .catch((error: unknown) => warn('lease', error));
      }
    },
    Math.max(1, Math.min(leaseMs / 3, MAX_TIMER_MS)),
  );
  if (group.ordered) balance('renew');
  wake();

  return {
    wake,
    changed() {
      balance('look');
      wake();
    },
    settle,
    async mark(delivery: Delivery, marks: Headers) {
      const handle = delivery.handle as Handle;
      if (!handle.open || stopped !== undefined) return 'stale';
      try {
        const outcome = await writer.write(() => shared.mark(handle, marks), { durable: true, notify: false });
        await hooks.crashPoint?.('sqlite:mark-committed');
        return outcome;
      } catch (error) {
        warn('mark', error);
        return 'unknown';
      }
    },
    async extend(deliveries: readonly Delivery[]) {
      // An ordered group's deliveries live by the leases of their shards, which the heartbeat renews.
      if (group.ordered || stopped !== undefined) return;
      const handles = deliveries.map(({ handle }) => handle as Handle).filter(({ open }) => open);
      if (handles.length === 0) return;
      const messages = handles.map(({ message }) => message);
      try {
        await writer.write(() => claims.extend(messages, owner, Date.now() + leaseMs), {
          durable: false,
          notify: false,
        });
      } catch (error) {
        warn('extend', error);
      }
    },
    pause(lane?: Priority) {
      for (const each of lane === undefined ? LANE_NUMBERS : [laneNumber(lane)]) paused.add(each);
    },
    resume(lane?: Priority) {
      for (const each of lane === undefined ? LANE_NUMBERS : [laneNumber(lane)]) paused.delete(each);
      wake();
    },
    stop() {
      stopped ??= leave();
      return stopped;
    },
  };
}
