import type { ConsumerInternals } from './consume/consumer.ts';
import { textOf } from './errors.ts';
import type { AdapterHealth, BrokerAdapter, SpillState } from './port.ts';
import type { Publisher } from './publish/publisher.ts';

export interface Health {
  readonly live: boolean;
  readonly ready: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail?: string }[];
}

export interface HealthSources {
  readonly adapter: BrokerAdapter;
  readonly publisher: Publisher;
  readonly consumers: ReadonlySet<ConsumerInternals>;
  /** What waits in the spill store; undefined without one. */
  readonly spilled: (() => Promise<SpillState | undefined>) | undefined;
  readonly closed: boolean;
}

/** Connection, the adapter's own checks, open circuits, and consumers that stand still while messages wait (S31). */
export async function checkHealth({ adapter, publisher, consumers, spilled, closed }: HealthSources): Promise<Health> {
  // Closing is on purpose: nothing to restart for, nothing to route to.
  if (closed) return { live: true, ready: false, checks: [{ name: 'client', ok: false, detail: 'closed' }] };
  const own = await adapter.health().catch(
    (error: unknown): AdapterHealth => ({
      connected: false,
      checks: [{ name: adapter.name, ok: false, detail: textOf(error) }],
    }),
  );
  const breakers = [...publisher.breakers].map(([topic, { open }]) => ({
    name: `publish ${topic}`,
    ok: !open,
    ...(open ? { detail: 'the circuit is open' } : {}),
  }));
  const stalls = await Promise.all([...consumers].map((consumer) => stallCheck(consumer)));
  const checks = [{ name: 'connection', ok: own.connected }, ...own.checks, ...breakers, ...stalls];
  const ready = checks.every(({ ok }) => ok);
  // What waits for the broker takes nothing away from what can be asked of this client.
  return { live: true, ready, checks: spilled === undefined ? checks : [...checks, await spillCheck(spilled)] };
}

async function spillCheck(spilled: () => Promise<SpillState | undefined>): Promise<Health['checks'][number]> {
  const state = await spilled();
  if (state === undefined) return { name: 'spill', ok: false, detail: 'the store does not say what it holds' };
  const { rows, bytes, oldestAgeMs } = state;
  const age = oldestAgeMs === undefined ? '' : `, the oldest for ${Math.round(oldestAgeMs / 1_000)} s`;
  return { name: 'spill', ok: true, detail: `${rows} messages wait, ${bytes} bytes${age}` };
}

/** Since which look messages have waited for a consumer that is silent. */
const waitingSince = new WeakMap<ConsumerInternals, number>();
const CONFIRM_MS = 2_000;

async function stallCheck(consumer: ConsumerInternals): Promise<Health['checks'][number]> {
  const name = `consume ${consumer.topic} as ${consumer.group}`;
  const heldBy = consumer.heldBy();
  if (heldBy !== undefined) return { name, ok: false, detail: `held by its breaker: ${heldBy}` };
  const heldShards = consumer.heldShards();
  if (heldShards !== undefined) return { name, ok: true, detail: heldShards };
  const stalledMs = consumer.stalledMs();
  if (stalledMs === undefined || stalledMs < Math.max(30_000, consumer.timeoutMs)) return { name, ok: true };
  const ready = await consumer.ready().catch(() => undefined);
  if (ready === undefined || ready === 0) {
    waitingSince.delete(consumer);
    return { name, ok: true };
  }
  const now = performance.now();
  const before = waitingSince.get(consumer);
  // After a long silence the first message may have come this very moment: only one that still waits is a stall.
  const since = before === undefined || before < now - stalledMs ? now : before;
  waitingSince.set(consumer, since);
  return {
    name,
    ok: now - since < CONFIRM_MS,
    detail: `${ready} messages wait, and nothing was fetched or settled for ${Math.round(stalledMs / 1_000)} s`,
  };
}
