/** The one place that settles. What ends while a call is under way goes with the next: batches form by themselves. */

import type { Emitter } from '../events.ts';
import type { Settlement, SettleOutcome, Source } from '../port.ts';

export interface Settler {
  /** Resolves when the adapter has answered. Never rejects. */
  settle(settlement: Settlement): Promise<SettleOutcome>;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
  readonly lastSettledAt: number;
}

/** A settler that sees what passes through another. */
export function around(inner: Settler, settle: Settler['settle']): Settler {
  return {
    settle,
    idle: () => inner.idle(),
    get lastSettledAt() {
      return inner.lastSettledAt;
    },
  };
}

interface Entry {
  readonly settlement: Settlement;
  readonly resolve: (outcome: SettleOutcome) => void;
}

const MOST = 512;

export function createSettler(
  source: Promise<Source>,
  emitter: Emitter,
  names: { readonly topic: string; readonly group: string },
  crashPoint?: ((name: string) => void | Promise<void>) | undefined,
): Settler {
  // Moves await a confirm; a slow one must not hold up plain acknowledgements.
  const done = lane();
  const moves = lane();
  let lastSettledAt = performance.now();

  function lane(): { waiting: Entry[]; running: Promise<void> | undefined } {
    return { waiting: [], running: undefined };
  }

  async function run(of: { waiting: Entry[]; running: Promise<void> | undefined }): Promise<void> {
    // One turn of the event loop, so that what ends together settles together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (of.waiting.length > 0) {
      const batch = of.waiting.splice(0, MOST);
      if (of === done && crashPoint !== undefined) await crashPoint('settle:sending');
      const outcomes = await settleBatch(batch.map((entry) => entry.settlement));
      if (of === done && crashPoint !== undefined) await crashPoint('settle:answered');
      report(outcomes);
      for (const [index, entry] of batch.entries()) entry.resolve(outcomes[index] ?? 'unknown');
    }
    of.running = undefined;
  }

  async function settleBatch(batch: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    try {
      return await (await source).settle(batch);
    } catch (error) {
      emitter.emit('error', { during: 'settle', error });
      return batch.map(() => 'unknown');
    }
  }

  function report(outcomes: readonly SettleOutcome[]): void {
    let stale = 0;
    let unknown = 0;
    for (const outcome of outcomes) {
      if (outcome === 'stale') stale += 1;
      else if (outcome === 'unknown') unknown += 1;
    }
    if (stale + unknown < outcomes.length) lastSettledAt = performance.now();
    if (stale + unknown > 0) emitter.emit('unsettled', { ...names, stale, unknown });
  }

  return {
    settle: (settlement) =>
      new Promise((resolve) => {
        const of = settlement.kind === 'done' ? done : moves;
        of.waiting.push({ settlement, resolve });
        of.running ??= run(of);
      }),
    async idle() {
      while (done.running !== undefined || moves.running !== undefined)
        await Promise.all([done.running, moves.running]);
    },
    get lastSettledAt() {
      return lastSettledAt;
    },
  };
}
