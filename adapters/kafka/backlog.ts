import type { Backlog, Topology } from '../../src/port.ts';
import type { Context } from './context.ts';
import { deadLetters } from './dead-letters.ts';
import { RUNGS } from './ladder.ts';
import { delayGroup, delayTopic, groupId, laneTopics, retryTopic } from './names.ts';

/**
 * What stands behind a group's commits. Estimates: markers of transactions and compacted records count as messages, and
 * what is settled behind an unsettled message still counts. Ready includes what is being handled.
 */
export async function backlog(context: Context, topology: Topology, group: string): Promise<Backlog> {
  const id = groupId(topology.topic, group);
  const lanes = new Map(laneTopics(topology.topic, topology.lanes).map((topic) => [topic, topology.partitions]));
  const [ready, retries, delays, dead] = await Promise.all([
    lag(context, id, lanes),
    ladderLag(context, id, retryTopic(topology.topic, group)),
    ladderLag(context, delayGroup(topology.topic), delayTopic(topology.topic)),
    deadLetters(context, topology, group).count(),
  ]);
  return { ready, inFlight: undefined, delayed: retries + delays, dead, oldestAgeMs: undefined, exact: false };
}

async function ladderLag(context: Context, group: string, topic: string): Promise<number> {
  // A ladder that was never needed does not exist, and nothing rests on it.
  if ((await context.client.partitionsOf(topic)) === undefined) return 0;
  return await lag(context, group, new Map([[topic, RUNGS.length]]));
}

async function lag({ client }: Context, group: string, topics: ReadonlyMap<string, number>): Promise<number> {
  const committed = await client.committed(group, topics);
  let sum = 0;
  for (const [topic, partitions] of topics) {
    const [earliest, latest] = await Promise.all([
      client.offsets(topic, partitions, 'earliest'),
      client.offsets(topic, partitions, 'latest'),
    ]);
    for (let partition = 0; partition < partitions; partition++) {
      const low = earliest[partition] ?? 0;
      const at = Math.max(committed.get(topic)?.[partition]?.offset ?? low, low);
      sum += Math.max(0, (latest[partition] ?? 0) - at);
    }
  }
  return sum;
}
