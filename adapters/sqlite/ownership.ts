import type { Owners } from './owners.ts';
import { type Plan, planShards, type ShardLeases } from './shards.ts';
import type { Writer } from './writer.ts';

/** The shards that one subscription of an ordered group holds. */
export interface Ownership {
  /** Shard to epoch, without those that are to run empty. */
  open(): ReadonlyMap<number, number>;
  /** Takes, drains and lets go what the share asks for; writes only if there is something to do, or to `renew` its leases. */
  balance(why: 'look' | 'renew'): Promise<void>;
  /** No longer ours, or not to be ours any more: all that is unsettled of this epoch is lost to us. */
  lose(shard: number, epoch: number): void;
  /** Whether a settlement may have emptied a shard that somebody waits for. */
  draining(): boolean;
}

/** A shard that does not run empty within this time (a key is held for its next attempt) goes on with its old holder. */
const DRAIN_MS = 5_000;
/** For this long; then it is tried again. */
const PINNED_MS = 30_000;

export function createOwnership(options: {
  readonly group: number;
  readonly owner: number;
  readonly leaseMs: number;
  readonly writer: Writer;
  readonly owners: Owners;
  readonly leases: ShardLeases;
  /** There is more, or less, to fetch from. */
  readonly changed: () => void;
  /** Unsettled deliveries of it are lost. */
  readonly revoked: (epoch: number) => void;
  /** Nothing of it is held any more, whether lost or let go. */
  readonly ended: (epoch: number) => void;
}): Ownership {
  const { group, owner, leaseMs, writer, owners, leases } = options;
  const held = new Map<number, number>();
  const drainingSince = new Map<number, number>();
  const pinnedUntil = new Map<number, number>();

  function plan(now: number): Plan {
    return planShards({
      me: owner,
      now,
      live: owners.live(group, now),
      rows: leases.rows(group),
      held,
      busy: leases.busy(group, owner),
      draining: new Set(drainingSince.keys()),
      pinned: new Set(pinnedUntil.keys()),
    });
  }

  function carryOut(renew: boolean): {
    readonly plan: Plan;
    readonly taken: Map<number, number>;
    readonly lost: Map<number, number>;
  } {
    const now = Date.now();
    const until = now + leaseMs;
    if (renew) owners.renew(owner, group, until);
    const todo = plan(now);
    for (const shard of todo.release) leases.release(group, shard, owner);
    const taken = new Map(todo.take.map((shard) => [shard, leases.take(group, shard, owner, until)]));
    if (renew) leases.renew(group, owner, until);
    const lost = new Map(
      [...held].filter(([shard, epoch]) => !todo.release.includes(shard) && !leases.holds(group, shard, owner, epoch)),
    );
    return { plan: todo, taken, lost };
  }

  function lose(shard: number, epoch: number): void {
    if (held.get(shard) !== epoch) return;
    held.delete(shard);
    drainingSince.delete(shard);
    options.ended(epoch);
    options.revoked(epoch);
  }

  // True if a shard is open again.
  function expireMarks(now: number): boolean {
    for (const [shard, until] of pinnedUntil) if (until <= now) pinnedUntil.delete(shard);
    const late = [...drainingSince].filter(([, since]) => now - since >= DRAIN_MS);
    for (const [shard] of late) {
      drainingSince.delete(shard);
      pinnedUntil.set(shard, now + PINNED_MS);
    }
    return late.length > 0;
  }

  // One at a time: what one has taken must stand in `held` before the next one looks.
  let wanted: 'look' | 'renew' | undefined;
  let running: Promise<void> | undefined;

  function balance(why: 'look' | 'renew'): Promise<void> {
    wanted = wanted === 'renew' ? 'renew' : why;
    running ??= run().finally(() => {
      running = undefined;
    });
    return running;
  }

  async function run(): Promise<void> {
    while (wanted !== undefined) {
      const renew = wanted === 'renew';
      wanted = undefined;
      if (expireMarks(performance.now())) options.changed();
      if (renew || isDue(plan(Date.now()))) await once(renew);
    }
  }

  function isDue({ take, release, drain }: Plan): boolean {
    const marked = drain.length === drainingSince.size && drain.every((shard) => drainingSince.has(shard));
    return take.length > 0 || release.length > 0 || !marked;
  }

  async function once(renew: boolean): Promise<void> {
    const done = await writer.write(() => carryOut(renew), { durable: false, notify: true });
    for (const [shard, epoch] of done.lost) lose(shard, epoch);
    for (const shard of done.plan.release) {
      const epoch = held.get(shard);
      held.delete(shard);
      if (epoch !== undefined) options.ended(epoch);
    }
    for (const [shard, epoch] of done.taken) held.set(shard, epoch);
    const { drain } = done.plan;
    for (const shard of drainingSince.keys()) if (!drain.includes(shard)) drainingSince.delete(shard);
    for (const shard of drain) if (!drainingSince.has(shard)) drainingSince.set(shard, performance.now());
    options.changed();
  }

  return {
    open: () => new Map([...held].filter(([shard]) => !drainingSince.has(shard))),
    draining: () => drainingSince.size > 0,
    balance,
    lose,
  };
}
