/** A case's own stores, the tables of its effects beside them, and notes between its processes. */

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DedupeStore, Store } from '../../src/port.ts';
import type { Case } from './case.ts';

export interface Effect {
  readonly n: number;
  readonly edited: boolean;
}
export interface Evidence {
  readonly effects: readonly Effect[];
  /** Committed in one transaction with an outbox row each. */
  readonly business: readonly number[];
}
export const NOTHING: Evidence = { effects: [], business: [] };

export interface Stores {
  readonly store: Store<unknown>;
  readonly spill: Store<unknown>;
  readonly dedupe: DedupeStore;
  /** Writes an effect of a message in the handler's transaction; `by` says who handled it. */
  effect(tx: unknown, effect: Effect, by: string): Promise<void>;
  /** Writes business data in the transaction of an outbox row. */
  business(tx: unknown, n: number): Promise<void>;
  read(): Promise<Evidence>;
  close(): Promise<void>;
}

export async function openStores(what: Case, crashPoint: (name: string) => void): Promise<Stores> {
  if (what.store === 'sqlite') return (await import('./stores-sqlite.ts')).openSqlite(what);
  return (await import('./stores-postgres.ts')).openPostgres(what, crashPoint);
}

/** By a client of its own, when all is over. */
export async function readEvidence(what: Case): Promise<Evidence> {
  if (what.store === 'sqlite') return (await import('./stores-sqlite.ts')).readSqlite(what);
  return (await import('./stores-postgres.ts')).readPostgres(what);
}

/** What is not in the case's folder. */
export async function dropStores(what: Case): Promise<void> {
  if (what.store === 'postgres') await (await import('./stores-postgres.ts')).dropPostgres(what);
}

/** What one process leaves for the next. */
export interface Note {
  readonly there: boolean;
  leave(): void;
}
export function noteIn(folder: string, name: string): Note {
  const path = join(folder, name);
  return {
    get there() {
      return existsSync(path);
    },
    leave: () => writeFileSync(path, ''),
  };
}
