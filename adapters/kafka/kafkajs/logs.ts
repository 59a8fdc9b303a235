import type { KafkaRecord, Place } from '../client.ts';
import { adapterError } from '../errors.ts';
import type { RawCluster } from './cluster.ts';
import { type Leaders, nodeOf } from './leaders.ts';
import { recordOf } from './records.ts';

const READ_COMMITTED = 1;
const READ_BYTES = 1024 * 1024;

/** By partition; −1 where there is none at or after the time. `timestamp`: −2 is the first, −1 the next to come. */
export async function listOffsets(
  cluster: RawCluster,
  leaders: Leaders,
  { topic, partitions, timestamp }: { readonly topic: string; readonly partitions: number; readonly timestamp: number },
): Promise<number[]> {
  const result: number[] = Array.from({ length: partitions }, () => -1);
  const byLeader = Map.groupBy(result.keys(), (partition) => leaders.get(partition));
  for (const [leader, list] of byLeader) {
    if (leader === undefined) continue;
    const { responses } = await (await nodeOf(cluster, leader)).listOffsets({
      replicaId: -1,
      isolationLevel: READ_COMMITTED,
      topics: [{ topic, partitions: list.map((partition) => ({ partition, timestamp })) }],
    });
    for (const entry of responses.flatMap((one) => one.partitions)) result[entry.partition] = Number(entry.offset);
  }
  return result;
}

/** One fetch without a group. */
export async function readLog(
  cluster: RawCluster,
  leaders: Leaders,
  { topic, partition, offset }: Place & { readonly offset: number },
): Promise<{ records: readonly KafkaRecord[]; next: number }> {
  const leader = leaders.get(partition);
  if (leader === undefined) throw adapterError('topology-missing', `"${topic}" has no partition ${partition}`);
  const { responses } = await (await nodeOf(cluster, leader)).fetch({
    maxWaitTime: 1,
    minBytes: 1,
    maxBytes: READ_BYTES,
    isolationLevel: READ_COMMITTED,
    topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: READ_BYTES }] }],
  });
  const messages = responses.flatMap((one) => one.partitions).flatMap((one) => one.messages);
  const wanted = messages.filter((message) => Number(message.offset) >= offset);
  const last = wanted.at(-1);
  return {
    records: wanted.filter((message) => message.isControlRecord !== true).map(recordOf),
    next: last === undefined ? offset : Number(last.offset) + 1,
  };
}
