import { type Check, checkOptions, count, positiveMs } from '../options.ts';
import type { SpillStore, Store } from '../port.ts';

/** A store, of which only what does not depend on its transactions is used. */
export type SpillTarget = Pick<Store<never>, 'spill'> & { readonly outbox: Pick<Store<never>['outbox'], 'relay'> };

export interface SpillOptions {
  /** Keeps what cannot be sent; its outbox's relays send it. It stays the caller's: close it after the client. */
  readonly store: SpillTarget;
  /** What may wait in the store, of all its clients together; each message counts for its bytes and 256 more. @default 64 MiB */
  readonly maxBytes?: number;
  /** How long a broker that fails is waited for before messages are spilled; with an open circuit it is none. @default 1_000 */
  readonly spillAfterMs?: number;
}

export interface SpillSettings {
  readonly outbox: Pick<Store<never>['outbox'], 'relay'>;
  readonly spill: SpillStore;
  readonly maxBytes: number;
  readonly spillAfterMs: number;
  /** What the store held when the client began. */
  readonly heldBytes?: number;
}

const isStore: Check = (value) => {
  const store = value as Partial<SpillTarget> | null;
  if (typeof store?.outbox?.relay?.read !== 'function') return 'must be a store such as postgresStore({ pool })';
  return typeof store.spill?.add === 'function' ? undefined : 'must be a store that can take spilled messages';
};

export const spillCheck: Check = (value) =>
  typeof value === 'object' && value !== null ? undefined : 'must be a store, or { store, maxBytes, spillAfterMs }';

/** Completes `spill: store` and `spill: { store, … }`. Throws a TypeError that names every wrong option. */
export function spillSettings(spill: SpillTarget | SpillOptions): SpillSettings {
  const options: SpillOptions = 'outbox' in spill ? { store: spill } : spill;
  checkOptions('spill', options, { store: isStore, maxBytes: count(1), spillAfterMs: positiveMs });
  const { store, maxBytes = 64 * 1024 * 1024, spillAfterMs = 1_000 } = options;
  if (store?.spill === undefined)
    throw new TypeError('spill: "store" is missing, for example postgresStore({ pool }) from \'holdfast/postgres\'');
  return { outbox: store.outbox, spill: store.spill, maxBytes, spillAfterMs };
}
