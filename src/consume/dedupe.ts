import type { Emitter } from '../events.ts';
import { checkOptions, count, positiveMs } from '../options.ts';
import { around, type Settler } from './settle.ts';
import type { Work } from './work.ts';

/**
 * Remembers handled messages for a while, outside the handler's transaction: a crash between effect and `commit` can
 * still repeat one. Where that matters, use an inbox.
 */
export interface DedupeStore {
  /**
   * `new`: ours to handle, until `commit` or `release`. `done`: handled before. `busy`: somebody is handling it now; a
   * store that outlives the process must let that end by itself, for the claimant may have died.
   */
  claim(key: string): Promise<'new' | 'done' | 'busy'>;
  commit(key: string): Promise<void>;
  release(key: string): Promise<void>;
}

/** In this process only: of no use across processes, or after a restart. @default windowMs 600_000, max 100_000 */
export function memoryDedupe(options: { readonly windowMs?: number; readonly max?: number } = {}): DedupeStore {
  checkOptions('memoryDedupe', options, { windowMs: positiveMs, max: count(1) });
  const { windowMs = 600_000, max = 100_000 } = options;
  const busy = new Set<string>();
  const done = new Map<string, number>();

  function forget(): void {
    const now = performance.now();
    for (const [key, until] of done) {
      if (until > now && done.size <= max) return;
      done.delete(key);
    }
  }

  return {
    async claim(key) {
      forget();
      if (done.has(key)) return 'done';
      if (busy.has(key)) return 'busy';
      busy.add(key);
      return 'new';
    },
    async commit(key) {
      busy.delete(key);
      done.set(key, performance.now() + windowMs);
      forget();
    },
    async release(key) {
      busy.delete(key);
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

export function claimOf(
  store: DedupeStore,
  key: string,
  context: { readonly settler: Settler; readonly emitter: Emitter },
): Claim {
  const { settler } = context;
  let ended = false;

  async function finish(handled: boolean): Promise<void> {
    if (ended) return;
    ended = true;
    try {
      await (handled ? store.commit(key) : store.release(key));
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
