import type { Listener } from './server.ts';

/** What a recipe is told about the server to start. */
export interface Place {
  /** The folder the release was installed into. */
  readonly installed: string;
  /** The exact version that is installed there. */
  readonly version: string;
  /** The data folder as the server sees it. */
  readonly data: string;
  /** As many as the recipe asked for. */
  readonly ports: readonly number[];
  /** Settings the user wants besides or instead of the recipe's, in the server's own names. */
  readonly config: Readonly<Record<string, string>>;
  readonly listeners: readonly Listener[];
}

/** How one server is started. */
export interface Launch {
  readonly url: string;
  readonly managementUrl?: string;
  /** Files to write into the data folder before each start. */
  readonly files: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** A shell script which ends by `exec` of the server; it runs at each start, in the data folder. */
  readonly script: string;
  /** Whether the server would serve a client now; `log` is what it has printed since it was started. */
  readonly isReady: (log: string) => Promise<boolean>;
}

/** How servers of one kind are started and stopped. */
export interface Recipe {
  readonly ports: number;
  /** The user, inside the release's own Debian root, to run as; root where there is none. */
  readonly user?: string;
  /** The signal on which the server stops in good order. */
  readonly stopSignal: NodeJS.Signals;
  readonly launch: (place: Place) => Launch;
}

/** Settings as lines of `name<separator>value`. */
export function lines(settings: Readonly<Record<string, string>>, separator: string): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}${separator}${value}\n`)
    .join('');
}
