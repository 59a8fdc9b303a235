import type { HaltStore } from './halts.ts';
import type { Inbox } from './handled.ts';
import type { Outbox, SpillStore } from './outbox.ts';

export interface Store<Tx> {
  readonly outbox: Outbox<Tx>;
  readonly inbox: Inbox<Tx>;
  /** Needed by `consume({ onExhausted: 'halt-key' })`. */
  readonly halts: HaltStore;
  /** Needed by `connect({ spill })`. */
  readonly spill?: SpillStore;
  /** Creates or upgrades the store's tables. Idempotent, and safe when several processes run it at once. */
  migrate(): Promise<void>;
  /** Ends what the store itself opened (timers, listeners, its own handle); a pool of the caller's stays open. */
  close(): Promise<void>;
}
