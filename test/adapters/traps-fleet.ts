import { afterAll, beforeAll } from 'vitest';
import type { Kind, Server } from '../fleet/index.ts';
import { type Proxied, startProxied } from '../fleet/proxied.ts';
import type { FaultProxy } from '../fleet/proxy.ts';

/** More than tests that run at once. */
const PROXIES = 8;

/** One server for a file's traps, and a proxy for each test while it runs. */
export interface TrapFleet {
  readonly kind: Kind;
  server(): Server;
  takeProxy(): FaultProxy;
  /** Healed. What was half-open on it has no user any more. */
  giveBack(proxy: FaultProxy): void;
}

export function trapFleet(kind: Kind): TrapFleet {
  let fleet: Proxied;
  const free: FaultProxy[] = [];
  beforeAll(async () => {
    fleet = await startProxied(kind, PROXIES);
    free.push(...fleet.proxies);
  }, 180_000);
  afterAll(() => fleet.stop());
  return {
    kind,
    server: () => fleet.server,
    takeProxy() {
      const proxy = free.pop();
      if (proxy === undefined) throw new Error(`more than ${PROXIES} traps at once need a proxy`);
      return proxy;
    },
    giveBack: (proxy) => void free.push(proxy),
  };
}
