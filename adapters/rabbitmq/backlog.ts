import type { ChannelModel } from 'amqplib';
import type { Backlog, Topology } from '../../src/port.ts';
import { onThrowaway, type Throwaway } from './channels.ts';
import { exchangeExists, readyCount } from './declare.ts';
import { RUNGS, rungName } from './delays.ts';
import type { ManagementApi } from './management.ts';
import { deadQueue, groupLadder, groupOf, placesOf, topicLadder } from './topology.ts';

/** Counts the group's queues by passive declarations, which ask each queue's leader. What is absent there is 0. */
export async function readBacklog(
  model: ChannelModel,
  management: ManagementApi | undefined,
  of: { readonly topology: Topology; readonly group: string },
): Promise<Backlog> {
  const { topology, group } = of;
  const queues = placesOf(topology, groupOf(topology, group)).map(({ queue }) => queue);
  const counts = await onThrowaway(model, async (on) => ({
    ready: await sum(on, queues),
    dead: await sum(on, [deadQueue(topology.topic, group)]),
    delayed: (await ladder(on, topicLadder(topology.topic))) + (await ladder(on, groupLadder(topology.topic, group))),
  }));
  const inFlight =
    management && (await Promise.all(queues.map((queue) => management.unsettled(queue)))).reduce((a, b) => a + b, 0);
  // The management plugin samples: its figure was seen to lag by seconds.
  return { ...counts, inFlight, oldestAgeMs: undefined, exact: inFlight === undefined };
}

async function sum(on: Throwaway, queues: readonly string[]): Promise<number> {
  let total = 0;
  for (const queue of queues) total += (await readyCount(on, queue)) ?? 0;
  return total;
}

async function ladder(on: Throwaway, name: string): Promise<number> {
  if (!(await exchangeExists(on, name))) return 0;
  return await sum(
    on,
    RUNGS.map((rung) => rungName(name, rung)),
  );
}
