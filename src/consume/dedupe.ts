import type { Emitter } from '../events.ts';
import { checkOptions, count, positiveMs } from '../options.ts';
import type { DedupeHold, DedupeStore } from '../port.ts';
import type { ProcessContext } from './context.ts';
import type { Renewals } from './renewals.ts';
import { around, type Settler } from './settle.ts';
import type { Work } from './work.ts';

export interface MemoryDedupeOptions {
  /** How long a handled message is remembered, from its commit. @default 600_000 */
  readonly windowMs?: number;
  /** How long a claim that is neither committed nor released keeps others out. @default 60_000 */
  readonly claimMs?: number;
  /** Most messages that are remembered; beyond it the oldest are forgotten early. @default 100_000 */
  readonly max?: number;
}

/** In this process only: of no use across processes, or after a restart. */
export function memoryDedupe(options: MemoryDedupeOptions = {}): DedupeStore {
  checkOptions('memoryDedupe', options, { windowMs: positiveMs, claimMs: positiveMs, max: count(1) });
  const { windowMs = 600_000, claimMs = 60_000, max = 100_000 } = options;
  // Both in the order of their ends, since a key that is written anew is put last.
  const claims = new Map<string, { readonly token: string; readonly until: number }>();
  const done = new Map<string, number>();
  let tokens = 0;

  function forget(): void {
    const now = performance.now();
    for (const [key, until] of done) {
      if (until > now && done.size <= max) break;
      done.delete(key);
    }
    for (const [key, { until }] of claims) {
      if (until > now) break;
      claims.delete(key);
    }
  }

  function renewed({ key, token }: DedupeHold): boolean {
    const holder = claims.get(key);
    if (done.has(key) || (holder !== undefined && holder.token !== token)) return false;
    claims.delete(key);
    claims.set(key, { token, until: performance.now() + claimMs });
    return true;
  }

  return {
    claimMs,
    async claim(key) {
      forget();
      if (done.has(key)) return { state: 'done' };
      if (claims.has(key)) return { state: 'busy' };
      tokens += 1;
      const token = String(tokens);
      claims.set(key, { token, until: performance.now() + claimMs });
      return { state: 'new', token };
    },
    async commit(key, token) {
      forget();
      const holder = claims.get(key);
      if (done.has(key) || (holder !== undefined && holder.token !== token)) return;
      claims.delete(key);
      done.set(key, performance.now() + windowMs);
      forget();
    },
    async release(key, token) {
      if (claims.get(key)?.token === token) claims.delete(key);
    },
    async renew(held) {
      forget();
      return held.map(renewed);
    },
  };
}

export const dedupeName = (group: string, topic: string, identity: string): string => `${group}\n${topic}\n${identity}`;

/** A claim on one message, ended exactly once: with its settlement, or by `end` where there is none. */
export interface Claim {
  readonly settler: Settler;
  /** After its handling: it may be held, given back or lost. What was handled stays handled. */
  end(work: Work): Promise<void>;
}

/** Undefined where the message is done, or somebody else's. */
export async function claimed(
  work: Work,
  identity: string,
  {
    topic,
    plan,
    settler,
    emitter,
    renewals,
    crashPoint,
  }: Pick<ProcessContext, 'topic' | 'plan' | 'settler' | 'emitter' | 'renewals' | 'crashPoint'>,
): Promise<Claim | 'done' | 'busy'> {
  const store = plan.dedupe!;
  const key = dedupeName(plan.group, topic.name, identity);
  const answer = await store.claim(key);
  if (answer.state !== 'new') return answer.state;
  await crashPoint?.('dedupe:claimed');
  work.claimLost = false;
  const { token } = answer;
  const drop = renewals?.keep({ key, token }, work);
  return claimOf(store, { key, token }, { settler, emitter, drop, crashPoint });
}

function claimOf(
  store: DedupeStore,
  { key, token }: DedupeHold,
  context: {
    readonly settler: Settler;
    readonly emitter: Emitter;
    readonly drop: ReturnType<Renewals['keep']> | undefined;
    readonly crashPoint: ProcessContext['crashPoint'];
  },
): Claim {
  const { settler } = context;
  let ended = false;

  async function finish(handled: boolean): Promise<void> {
    if (ended) return;
    ended = true;
    // A renewal under way must not come after its end.
    await context.drop?.();
    try {
      await (handled ? store.commit(key, token) : store.release(key, token));
      await context.crashPoint?.(handled ? 'dedupe:committed' : 'dedupe:released');
    } catch (error) {
      context.emitter.emit('error', { during: 'dedupe', error });
    }
  }

  return {
    settler: around(settler, async (settlement) => {
      await finish(settlement.kind === 'done');
      return settler.settle(settlement);
    }),
    end: (work) => finish(work.handled),
  };
}
