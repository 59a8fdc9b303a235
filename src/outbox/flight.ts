/**
 * The rows that a relay has read and not settled yet. A slow topic must not hold up the others, so rows are settled as
 * their publishes end, and more are read meanwhile; a key of an ordered topic has one row on its way at a time.
 */

import type { OutboxRow, RowSettlement } from '../port.ts';

export type Settled = RowSettlement & { readonly shard: number };

export interface Flight {
  readonly size: number;
  /** A read begins. What is settled before it returns may still be in it, as it was. */
  reading(): void;
  /** Of what was read, publishes all that is not on its way already; returns how many that are. */
  launch(rows: readonly OutboxRow[]): number;
  /** Resolves when nothing is on its way, or after `withinMs`. */
  landed(withinMs: number): Promise<void>;
}

export interface FlightSteps {
  /** The key that rows must keep in order, or undefined. */
  chainOf(row: OutboxRow): string | undefined;
  /** What became of the row; undefined leaves it as it is. Never rejects. */
  publish(row: OutboxRow): Promise<Settled | undefined>;
  settle(settlements: readonly Settled[]): Promise<void>;
  failed(error: unknown): void;
}

export function createFlight({ chainOf, publish, settle, failed }: FlightSteps): Flight {
  const rows = new Set<string>();
  const busy = new Set<string>();
  const waiters = new Set<() => void>();
  let ended: {
    readonly chain: readonly OutboxRow[];
    readonly name: string | undefined;
    readonly settled: readonly Settled[];
  }[] = [];
  let settling = false;
  // Rows and keys that were on their way while the current read was.
  let outdated = new Set<string>();

  async function fly(chain: readonly OutboxRow[], name: string | undefined): Promise<void> {
    const settled: Settled[] = [];
    for (const row of chain) {
      const settlement = await publish(row);
      if (settlement === undefined) break;
      settled.push(settlement);
      // A message that is refused when published lets its successors go; one from the outbox was accepted, so its key waits.
      if (settlement.kind !== 'sent') break;
    }
    ended.push({ chain, name, settled });
    if (settling) return;
    settling = true;
    // One turn of the event loop, so that what is confirmed together is settled together.
    setImmediate(() => void settleEnded());
  }

  async function settleEnded(): Promise<void> {
    while (ended.length > 0) {
      const batch = ended;
      ended = [];
      const settlements = batch.flatMap(({ settled }) => settled);
      try {
        if (settlements.length > 0) await settle(settlements);
      } catch (error) {
        failed(error);
      }
      for (const { chain, name } of batch) {
        for (const { rowId } of chain) {
          rows.delete(rowId);
          outdated.add(rowId);
        }
        if (name === undefined) continue;
        busy.delete(name);
        outdated.add(name);
      }
    }
    settling = false;
    if (rows.size === 0) for (const wake of [...waiters]) wake();
  }

  return {
    get size() {
      return rows.size;
    },
    reading() {
      outdated = new Set();
    },
    launch(read) {
      const chains: { readonly chain: OutboxRow[]; readonly name: string | undefined }[] = [];
      const byName = new Map<string, OutboxRow[]>();
      let launched = 0;
      for (const row of read) {
        if (rows.has(row.rowId) || outdated.has(row.rowId)) continue;
        const name = chainOf(row);
        if (name !== undefined && (busy.has(name) || outdated.has(name))) continue;
        launched += 1;
        const chain = name === undefined ? undefined : byName.get(name);
        if (chain !== undefined) chain.push(row);
        else {
          const made = [row];
          chains.push({ chain: made, name });
          if (name !== undefined) byName.set(name, made);
        }
      }
      for (const { chain, name } of chains) {
        for (const { rowId } of chain) rows.add(rowId);
        if (name !== undefined) busy.add(name);
        void fly(chain, name);
      }
      return launched;
    },
    async landed(withinMs) {
      if (rows.size === 0) return;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          waiters.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, withinMs);
        waiters.add(wake);
      });
    },
  };
}
