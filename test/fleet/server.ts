import type { Kind } from './releases.ts';

export interface ServerOptions {
  /** Extra server settings, in the server's own names; they win over the fleet's. */
  readonly config?: Readonly<Record<string, string>>;
  /** Extra environment variables of the server process. */
  readonly env?: Readonly<Record<string, string>>;
  /** A version other than the usual one: `7` for redis. */
  readonly version?: string | number;
  /** Start a server of our own even when the environment names one. @default false */
  readonly own?: boolean;
  /** More addresses of a Kafka broker, each known to clients as a proxy's before it. Other brokers have no use for it. */
  readonly listeners?: readonly Listener[];
}

/** A port that the server listens on, and the one it tells clients to come to. */
export interface Listener {
  readonly port: number;
  readonly advertisedPort: number;
}

/** A broker or database that answers at `url`. */
export interface Server {
  readonly kind: Kind;
  readonly url: string;
  /** RabbitMQ's HTTP API, with credentials. */
  readonly managementUrl?: string;
  /** The exact version, or `unknown` for a server that the environment named. */
  readonly version: string;
  /** Whether we started it; only then can it be killed, paused and restarted. */
  readonly owned: boolean;
  /** The server's process, another after each restart; undefined while it is down or when it is not ours. */
  readonly pid: number | undefined;
  /** Kills every process of the server (SIGKILL) and waits until they are gone. */
  kill(): Promise<void>;
  /** Starts it again, on the same ports and data, and waits until it serves clients; stops it first if it runs. */
  restart(): Promise<void>;
  /** Freezes every process of the server (SIGSTOP): connections stay open, nothing answers. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Stops it in good order and removes its data; does nothing to a server that is not ours. */
  stop(): Promise<void>;
}
