import type { Topology } from '../../src/port.ts';
import type { Context } from './context.ts';
import { sendCopies } from './copies.ts';
import { type Group, joinGroup } from './group.ts';
import { originOf, undelayed } from './headers.ts';
import { RUNGS } from './ladder.ts';
import { delayGroup, delayTopic, laneTopic } from './names.ts';
import { watchRungs } from './rest.ts';
import { finish, insert, type Share } from './share.ts';

const LOOK_EVERY_MS = 1_000;
const AGAIN_MS = 1_000;
const MOST_AT_ONCE = 500;

/**
 * Publishes what was delayed when it is due. Each client that consumes a topic takes part; its ladder is created by the
 * first delayed publish, so those that consume look out for it every second.
 */
export interface DelayPumps {
  /** A consumer of this topic begins. Returns what to call when it ends. */
  want(topology: Topology): () => Promise<void>;
  /** The topic's ladder exists since just now. */
  created(topology: Topology): void;
  close(): Promise<void>;
}

interface Wanted {
  users: number;
  readonly topology: Topology;
  pump: Promise<{ stop(): Promise<void> }> | undefined;
}

export function delayPumps(context: Context): DelayPumps {
  const wanted = new Map<string, Wanted>();
  let looking = false;
  const timer = setInterval(lookOut, LOOK_EVERY_MS);
  timer.unref();

  async function lookOut(): Promise<void> {
    if (looking) return;
    looking = true;
    for (const one of wanted.values()) {
      if (one.pump !== undefined) continue;
      const partitions = await context.client.partitionsOf(delayTopic(one.topology.topic)).catch(() => undefined);
      if (partitions !== undefined) start(one);
    }
    looking = false;
  }

  function start(one: Wanted): void {
    if (one.pump !== undefined || one.users === 0) return;
    const pump = startPump(context, one.topology);
    one.pump = pump;
    pump.catch((error) => {
      if (one.pump === pump) one.pump = undefined;
      context.hooks.emit({
        type: 'warning',
        code: 'delays',
        detail: `delayed messages of "${one.topology.topic}" are not moved: ${String(error)}`,
      });
    });
  }

  async function stop(one: Wanted): Promise<void> {
    const pump = await one.pump?.catch(() => undefined);
    await pump?.stop();
  }

  return {
    want(topology) {
      const { topic } = topology;
      const one = wanted.get(topic) ?? { users: 0, topology, pump: undefined };
      wanted.set(topic, one);
      one.users++;
      if (one.users === 1) lookOut();
      return async () => {
        if (--one.users > 0) return;
        wanted.delete(topic);
        await stop(one);
      };
    },
    created(topology) {
      const one = wanted.get(topology.topic);
      if (one) start(one);
    },
    async close() {
      clearInterval(timer);
      const all = [...wanted.values()];
      wanted.clear();
      for (const one of all) one.users = 0;
      await Promise.all(all.map(stop));
    },
  };
}

async function startPump(context: Context, topology: Topology): Promise<{ stop(): Promise<void> }> {
  const topic = delayTopic(topology.topic);
  const moving = new Set<Share>();
  const timers = new Set<NodeJS.Timeout>();
  let group: Group | undefined;

  async function move(share: Share): Promise<void> {
    if (moving.has(share) || !share.opened || group?.holding() !== false) return;
    moving.add(share);
    while (share.live && share.queue.length > 0 && group.holding() === false) {
      const entries = share.queue.splice(0, MOST_AT_ONCE);
      const items = entries.map(({ record }) => {
        const { lane, partition } = originOf(record!);
        return { topic: laneTopic(topology.topic, lane), partition, record: undelayed(record!) };
      });
      const answers = await sendCopies(context, items);
      await context.hooks.crashPoint?.('delay:forwarded');
      let failed = false;
      for (const [index, entry] of entries.entries()) {
        if (answers[index]!.stored === 'yes') finish(entry);
        else {
          insert(share.queue, entry);
          failed = true;
        }
      }
      group.relieve(share);
      if (failed) {
        later(share);
        break;
      }
    }
    moving.delete(share);
  }

  function later(share: Share): void {
    const timer = setTimeout(() => {
      timers.delete(timer);
      move(share);
    }, AGAIN_MS);
    timers.add(timer);
  }

  const resting = watchRungs(context, topic, () => group, move);
  group = await joinGroup(
    context,
    {
      group: delayGroup(topology.topic),
      kind: undefined,
      topics: [topic],
      pools: [Array.from({ length: RUNGS.length }, (_, partition) => [{ topic, partition }])],
      rungOf: ({ partition }) => partition,
      stock: MOST_AT_ONCE,
      // Forwarding takes a round trip: what is on its way is finished first, and so not forwarded twice.
      drainMs: context.settings.requestTimeoutMs,
      suspects: 0,
    },
    {
      ready(share) {
        resting.look(share);
        move(share);
      },
      lost(share) {
        share.queue = [];
        share.resting = [];
      },
      out: () => moving.size,
    },
  );
  for (const share of group.shares.values()) {
    resting.look(share);
    move(share);
  }
  return {
    async stop() {
      resting.close();
      for (const timer of timers) clearTimeout(timer);
      await group.stop();
    },
  };
}
