/** Makes a planned fault happen, and writes down whether it found anything to break. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Struck } from './crew.ts';
import { now } from './ledger-file.ts';
import { type Fault, type NetworkKind, type ServerTarget, serverTargets } from './plan.ts';
import type { Stage } from './stage.ts';

/** All of a window's faults; ends when the last is over. */
export async function storm(faults: readonly Fault[], stage: Stage): Promise<void> {
  await Promise.all(
    faults.map(async (fault) => {
      await sleep(fault.afterMs);
      const begin = now();
      const { kind, target } = fault;
      const struck = await strike(fault, stage);
      stage.ledger.write({ e: 'fault', kind, target, begin, ...struck });
    }),
  );
}

async function strike(fault: Fault, stage: Stage): Promise<Struck> {
  const { kind, target, luck, lastsMs } = fault;
  if (target === 'broker' || target === 'postgres') {
    if (kind === 'kill') return killServer(target, lastsMs, stage);
    if (kind === 'pause') return pauseServer(target, lastsMs, stage);
    return spoilNetwork(target, kind, fault, stage);
  }
  return kind === 'kill' ? stage.crew.kill(target, luck, lastsMs) : stage.crew.pause(target, luck, lastsMs);
}

async function killServer(target: ServerTarget, lastsMs: number, { servers }: Stage): Promise<Struck> {
  const { server } = servers[target];
  const hit = server.pid !== undefined;
  await server.kill();
  await sleep(lastsMs);
  await server.restart();
  return { hit, name: target, up: now() };
}

async function pauseServer(target: ServerTarget, lastsMs: number, { servers }: Stage): Promise<Struck> {
  const { server } = servers[target];
  const hit = server.pid !== undefined;
  await server.pause();
  await sleep(lastsMs);
  await server.resume();
  return { hit, name: target, up: now() };
}

async function spoilNetwork(
  target: ServerTarget,
  kind: NetworkKind,
  { luck, lastsMs }: Fault,
  { servers }: Stage,
): Promise<Struck> {
  const proxy = servers[target].proxies[0]!;
  const before = proxy.connections();
  const spoil: Readonly<Record<NetworkKind, () => void>> = {
    cut: proxy.cut,
    reset: proxy.reset,
    'half-open': () => proxy.halfOpen(luck < 0.33 ? 'up' : luck < 0.66 ? 'down' : 'both'),
    delay: () => proxy.delay(50 + Math.round(luck * 450), 100),
    throttle: () => proxy.throttle(10_000 + Math.round(luck * 40_000)),
    slice: () => proxy.slice(1 + Math.floor(luck * 20)),
    'black-hole': proxy.blackHole,
    swallow: () => proxy.swallow('replies'),
  };
  spoil[kind]();
  await sleep(lastsMs);
  proxy.heal();
  const swallowed = proxy.connections().swallowed - before.swallowed;
  const hit = kind === 'swallow' ? swallowed > 0 : before.open > 0;
  return { hit, name: target, up: now() };
}

/** Whatever a window left: nothing should be, and a run must not depend on that. */
export async function heal({ servers }: Stage): Promise<void> {
  for (const target of serverTargets) {
    servers[target].proxies[0]!.heal();
    await servers[target].server.resume();
  }
}
