import { type Kind, startServer } from './index.ts';
import { freePorts } from './ports.ts';
import { type FaultProxy, startProxy } from './proxy.ts';
import type { Server, ServerOptions } from './server.ts';

/** A server of our own with proxies before it. `server.url` leads past them. */
export interface Proxied {
  readonly server: Server;
  readonly proxies: readonly FaultProxy[];
  /** Stops the proxies, then the server. */
  stop(): Promise<void>;
}

/**
 * Starts a server of our own and `count` proxies before it, whose faults are apart from each other.
 *
 * A Kafka broker tells its clients where to connect; whoever came by a proxy is told that proxy's address, so no
 * connection of such a client leads past it.
 */
export async function startProxied(kind: Kind, count: number, options: ServerOptions = {}): Promise<Proxied> {
  const advertises = kind === 'kafka';
  const ports = await freePorts(advertises ? 2 * count : 0);
  const listeners = Array.from({ length: ports.length / 2 }, (_, index) => ({
    port: ports[2 * index]!,
    advertisedPort: ports[2 * index + 1]!,
  }));
  const server = await startServer(kind, { ...options, own: true, listeners });
  const proxies = await Promise.all(
    advertises
      ? listeners.map(({ port, advertisedPort }) =>
          startProxy({ target: `kafka://127.0.0.1:${port}`, port: advertisedPort }),
        )
      : Array.from({ length: count }, () => startProxy({ target: server.url })),
  );
  return {
    server,
    proxies,
    async stop() {
      await Promise.all(proxies.map((proxy) => proxy.stop()));
      await server.stop();
    },
  };
}
