import type { AdapterHooks, GroupTopology, Topology } from '../../src/port.ts';
import { again } from './again.ts';
import type { Committed, KafkaClient, Place } from './client.ts';
import { adapterError, messageOf } from './errors.ts';
import { groupId, laneTopics } from './names.ts';
import { CLEAN, kindIn, kindOf, withKind } from './start.ts';

const PATIENCE_MS = 15_000;

/**
 * Fixes where a group begins, by its first commit, once for all: from then on neither another `from` nor a late first
 * consumer changes it. A group in use refuses the commit and needs none.
 */
export async function settleStart(
  client: KafkaClient,
  hooks: AdapterHooks,
  topology: Topology,
  group: GroupTopology,
): Promise<void> {
  const topics = laneTopics(topology.topic, topology.lanes);
  const id = groupId(topology.topic, group.name);
  const from = group.from ?? 'earliest';
  const metadata = withKind(kindOf(group), CLEAN);
  try {
    await patiently(client, async () => {
      const committed = await commitsOf(client, topology, group);
      const starts: (Place & { offset: number; metadata: string })[] = [];
      for (const topic of topics) {
        const known: readonly Committed[] = committed.get(topic) ?? [];
        if (known.length > 0 && known.every((one) => one.offset !== undefined)) continue;
        const offsets = await client.offsets(topic, topology.partitions, from);
        for (const [partition, offset] of offsets.entries())
          if (known[partition]?.offset === undefined) starts.push({ topic, partition, offset, metadata });
      }
      if (starts.length > 0) await client.commitFor(id, starts);
    });
  } catch (error) {
    if (isConflict(error)) throw error;
    const text = messageOf(error);
    if (/not aware of this member|generation id|rebalanc/i.test(text)) return;
    // The consumers of a group without commits begin at the earliest message anyhow.
    if (from !== 'earliest') throw error;
    hooks.emit({ type: 'warning', code: 'group-start', detail: `could not fix the start of group "${id}": ${text}` });
  }
}

/** Whether the group is what its commits say, where they can be read. */
export async function verifyKind(client: KafkaClient, topology: Topology, group: GroupTopology): Promise<void> {
  try {
    await commitsOf(client, topology, group);
  } catch (error) {
    if (isConflict(error)) throw error;
  }
}

/** By topic, then partition. Throws where they say that the group is of the other kind. */
async function commitsOf(
  client: KafkaClient,
  topology: Topology,
  group: GroupTopology,
): Promise<ReadonlyMap<string, readonly Committed[]>> {
  const id = groupId(topology.topic, group.name);
  const topics = laneTopics(topology.topic, topology.lanes);
  const committed = await client.committed(id, new Map(topics.map((topic) => [topic, topology.partitions])));
  for (const { metadata } of [...committed.values()].flat()) {
    const kind = kindIn(metadata);
    if (kind === undefined || kind === kindOf(group)) continue;
    const [is, declared] = group.ordered ? ['unordered', 'ordered'] : ['ordered', 'unordered'];
    throw adapterError(
      'topology-conflict',
      `Kafka group "${id}" is ${is}, but declared ${declared}: what waits there was retried by other rules. Declare what ` +
        `it is, or take another name; or stop its consumers, drain it and delete it (kafka-consumer-groups.sh --delete ` +
        `--group ${id}): it then begins anew`,
    );
  }
  return committed;
}

const isConflict = (error: unknown): boolean =>
  (error as { adapterCode?: unknown } | null)?.adapterCode === 'topology-conflict';

/** A coordinator that moves or loads its state says so and is asked again. */
export function patiently<T>(client: KafkaClient, work: () => Promise<T>): Promise<T> {
  const hopeless = (error: unknown): boolean => /not aware of this member|generation id/i.test(messageOf(error));
  return again(work, (error) => (!hopeless(error) && client.isTransient(error) ? PATIENCE_MS : 0));
}
