import type { Priority, Topology } from '../../src/port.ts';

/*
 * Every key of a topic carries the hash tag {topic}, so that one script may touch all of them on a cluster too.
 *
 *   hf:{orders.placed}                    hash     partitions, lanes, group:<name> = ordered | free
 *   hf:{orders.placed}:_:seen:<n>         set      identities published in the n-th dedupe window
 *   hf:{orders.placed}:_:tickets          counter  makes delayed messages of one millisecond distinct and ordered
 *   hf:{orders.placed}:billing:normal     stream   an unordered group's lane (consumer group `g`)
 *   hf:{orders.placed}:board:normal:3     stream   an ordered group's lane and shard (consumer group `g`, consumer `s`)
 *   hf:{orders.placed}:billing:wake       stream   wakes a blocked reader when something was given back
 *   hf:{orders.placed}:billing:delayed    sorted set, by due time
 *   hf:{orders.placed}:billing:dead       stream   dead letters
 *   hf:{orders.placed}:billing:marks      hash     marks of unsettled entries that replace their own, by <lane>/<entry id>
 *   hf:{orders.placed}:board:live         sorted set of consumers, by last heartbeat
 *   hf:{orders.placed}:board:lease:3      who reads shard 3; expires
 *   hf:{orders.placed}:board:fence        hash     fencing token by shard
 *
 * Neither topics nor groups can hold a colon or a brace, and no group begins with `_`: names cannot meet.
 */

export const topicKey = (prefix: string, topic: string): string => `${prefix}:{${topic}}`;

export const groupKey = (prefix: string, topic: string, group: string): string => `${topicKey(prefix, topic)}:${group}`;

/** What follows the group's key in a stream's name. */
export const streamSuffix = (lane: Priority, shard: number | undefined): string =>
  shard === undefined ? lane : `${lane}:${shard}`;

export const lanesOf = (topology: Topology): readonly Priority[] =>
  topology.lanes ? ['high', 'normal', 'low'] : ['normal'];

/** Suffixes of all of a group's streams. */
export function streamSuffixes(topology: Topology, ordered: boolean): string[] {
  if (!ordered) return lanesOf(topology).map((lane) => streamSuffix(lane, undefined));
  return Array.from({ length: topology.partitions }, (_, shard) => shard).flatMap((shard) =>
    lanesOf(topology).map((lane) => streamSuffix(lane, shard)),
  );
}
