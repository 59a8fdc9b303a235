import { checkOptions, count, positiveMs } from '../options.ts';

/**
 * Remembers handled messages for a while, outside the handler's transaction: a crash between effect and `commit` can
 * still repeat one. Where that matters, use an inbox.
 */
export interface DedupeStore {
  /** `new`: ours to handle. `done`: handled before. `busy`: somebody is handling it now. */
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
