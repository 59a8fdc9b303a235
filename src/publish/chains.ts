/**
 * Keys of ordered topics that have rows in the spill store, or on their way into it. What comes for such a key stays
 * behind them: in a line in memory, until the last of the rows is gone.
 */

import { shardOf } from '../outbox/entry.ts';
import type { Pending } from './queue.ts';

export interface SpillRow {
  readonly rowId: string;
  readonly shard: number;
}

export interface Chains {
  readonly size: number;
  has(name: string): boolean;
  /** It is on its way into the store. */
  spilling(name: string, pending: Pending): void;
  /** It is there, or, without a row id, it is not. */
  written(pending: Pending, rowId: string | undefined): void;
  /** It waits behind the rows. */
  wait(name: string, pending: Pending): void;
  /** The last rows of keys that have some, those first for which messages wait. */
  rows(most: number): readonly SpillRow[];
  /** These were sent or parked. */
  gone(rowIds: readonly string[]): void;
  /** Ends the lines: each message has waited long enough. */
  endLines(): void;
  close(): void;
}

export interface ChainsOptions {
  /** How long a message waits in a line. */
  readonly patienceMs: number;
  /** The rows before it are gone. */
  onFree(pending: Pending): void;
  /** They are not, and it has waited long enough. */
  onLate(pending: Pending): void;
}

interface Chain {
  writing: number;
  last: SpillRow | undefined;
  line: Pending[];
  lineSince: number;
}

export function createChains({ patienceMs, onFree, onLate }: ChainsOptions): Chains {
  const chains = new Map<string, Chain>();
  const chainOfRow = new Map<string, string>();
  const chainOfWrite = new WeakMap<Pending, string>();
  let timer: NodeJS.Timeout | undefined;

  function free(name: string, chain: Chain): void {
    if (chain.writing > 0 || chain.last !== undefined) return;
    chains.delete(name);
    for (const pending of chain.line) if (!pending.left) onFree(pending);
  }

  function look(): void {
    timer = undefined;
    const now = performance.now();
    let waits = false;
    for (const chain of chains.values()) {
      chain.line = chain.line.filter(({ left }) => !left);
      if (chain.line.length === 0) continue;
      if (now - chain.lineSince < patienceMs) waits = true;
      else for (const pending of chain.line.splice(0)) onLate(pending);
    }
    if (waits) lookLater();
  }

  function lookLater(): void {
    timer ??= setTimeout(look, Math.min(250, Math.max(5, patienceMs / 4))).unref();
  }

  return {
    get size() {
      return chains.size;
    },
    has: (name) => chains.has(name),
    spilling(name, pending) {
      let chain = chains.get(name);
      if (chain === undefined) {
        chain = { writing: 0, last: undefined, line: [], lineSince: 0 };
        chains.set(name, chain);
      }
      chain.writing += 1;
      chainOfWrite.set(pending, name);
    },
    written(pending, rowId) {
      const name = chainOfWrite.get(pending);
      const chain = name === undefined ? undefined : chains.get(name);
      if (name === undefined || chain === undefined) return;
      chain.writing -= 1;
      if (rowId !== undefined) {
        if (chain.last !== undefined) chainOfRow.delete(chain.last.rowId);
        chain.last = { rowId, shard: shardOf(pending.outgoing.key, pending.outgoing.id) };
        chainOfRow.set(rowId, name);
      }
      free(name, chain);
    },
    wait(name, pending) {
      const chain = chains.get(name)!;
      if (chain.line.length === 0) chain.lineSince = performance.now();
      chain.line.push(pending);
      lookLater();
    },
    rows(most) {
      const known = [...chains].filter(([, { last }]) => last !== undefined);
      const first = known.filter(([, { line }]) => line.length > 0);
      const rest = known.filter(([, { line }]) => line.length === 0);
      const asked = [...first, ...rest].slice(0, most);
      // The next time, others come first.
      for (const [name, chain] of asked) {
        chains.delete(name);
        chains.set(name, chain);
      }
      return asked.map(([, { last }]) => last!);
    },
    gone(rowIds) {
      for (const rowId of rowIds) {
        const name = chainOfRow.get(rowId);
        const chain = name === undefined ? undefined : chains.get(name);
        if (name === undefined || chain === undefined) continue;
        chainOfRow.delete(rowId);
        chain.last = undefined;
        free(name, chain);
      }
    },
    endLines() {
      for (const { line } of chains.values()) for (const pending of line.splice(0)) if (!pending.left) onLate(pending);
    },
    close: () => clearTimeout(timer),
  };
}
