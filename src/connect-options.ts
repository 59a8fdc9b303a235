import { isName } from './message.ts';
import { type Check, type Checks, count, func, oneOf, text } from './options.ts';
import { type SpillOptions, type SpillTarget, spillCheck } from './outbox/spill-options.ts';
import { type BreakerOptions, breakerChecks } from './policy/circuit-breaker.ts';
import type { BrokerAdapter } from './port.ts';

export interface ConnectOptions {
  readonly adapter: BrokerAdapter;
  /** The publishing service's name: part of each message's identity (S12). @default 'default' */
  readonly source?: string;
  /** Create what is missing, verify that it is there, or trust. @default 'create' */
  readonly declare?: 'create' | 'verify' | 'none';
  /** When publishing is given up for a while because the broker keeps failing (G10). */
  readonly breaker?: BreakerOptions;
  /** What may wait or be in flight; beyond it publish waits. @default 10_000 messages, 64 MiB */
  readonly buffer?: { readonly messages?: number; readonly bytes?: number };
  /**
   * Keeps accepting publishes while the broker is away (S16): they are stored here and fulfil as `spilled`, and are sent
   * once it is back, also by the next client with this store. It must be migrated, and belong to this broker alone.
   */
  readonly spill?: SpillTarget | SpillOptions;
  /** Shown to the broker. @default the source */
  readonly name?: string;
  /** Test runs kill the process here (S37). */
  readonly crashPoint?: (name: string) => void | Promise<void>;
}

const source: Check = (value) =>
  isName(value) ? undefined : 'must be 1 to 128 printable characters, at most 255 bytes';

/** Of what a client is made of beside its adapter: by `connect`, and by each environment of a config. */
export const clientChecks: Checks = {
  source,
  declare: oneOf('create', 'verify', 'none'),
  breaker: breakerChecks,
  buffer: { messages: count(1), bytes: count(1) },
  spill: spillCheck,
  name: text,
  crashPoint: func,
};
