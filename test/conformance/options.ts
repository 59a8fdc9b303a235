import type { BrokerAdapter, Inbox } from '../../src/port.ts';
import type { ExpectedCapabilities } from './expected.ts';

/** `it` of vitest, `test` of `node:test`, or anything that takes a title, an async function and perhaps its time limit. */
export type It = (title: string, run: () => Promise<void>, timeoutMs?: number) => unknown;

export interface BrokerSuiteOptions {
  /** Stands before each title. */
  readonly name: string;
  /** Cases do not disturb each other: `it.concurrent` works too. */
  readonly it: It;
  /** What the adapter is held to: a case asserts that its own capabilities are these, and they pick the cases. */
  readonly capabilities: ExpectedCapabilities;
  /** An adapter more on the same broker, not connected. Topics named `conformance-…` stay on the broker. */
  readonly adapter: () => BrokerAdapter;
  /**
   * How a child process makes such an adapter; needed where `capabilities.multiProcess`. `module` is a file URL whose
   * export `adapter(url)` returns one; without it the URL's scheme says which.
   */
  readonly child?: { readonly url: string; readonly module?: string };
  /** Ends the adapter as if its process had died; needed where several processes cannot share the broker. */
  readonly crash?: (adapter: BrokerAdapter) => void;
  /** Starts a broker for the case that kills it. Without one that case is not there. */
  readonly server?: () => Promise<PrivateServer>;
  /**
   * Whether delays run on a clock of the broker's, or on that of the one machine that all its clients are on: there no
   * process can have another. @default 'own'
   */
  readonly clock?: 'own' | 'machine';
  /** An inbox of its own for a case, for effects once. */
  readonly inbox: () => Promise<InboxUnderTest>;
  /** Is told what was measured, line by line. @default nobody */
  readonly report?: (line: string) => void;
  /** The longest that any one condition is waited for, in milliseconds. @default 40_000 */
  readonly patienceMs?: number;
}

export interface InboxUnderTest {
  readonly inbox: Inbox<unknown>;
  close(): Promise<void>;
}

/** A broker that may be killed. */
export interface PrivateServer {
  adapter(): BrokerAdapter;
  /** Kills it without warning. */
  kill(): Promise<void>;
  /** Starts it again with the data it had; resolves as soon as it serves clients. */
  restart(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** Registers cases: a title which is a promise, and what proves it. */
export interface Suite extends BrokerSuiteOptions {
  /** How a group is declared that would be ordered: `'none'` where the adapter has no order, so that the rest is tested all the same. */
  readonly byKey: 'key' | 'none';
  case(title: string, run: (world: import('./world.ts').World) => Promise<void>, timeoutMs?: number): void;
}
