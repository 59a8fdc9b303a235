import { createHash } from 'node:crypto';
import type { Priority } from '../../src/port.ts';

/*
 * Names on the broker: parts joined by "--", which neither topics nor groups may contain.
 *
 *   orders                    a topic, and its normal lane
 *   orders--high, --low       its other lanes, where it has lanes
 *   orders--delay             delayed publishes, for whichever group
 *   orders--billing           the consumer group of the group "billing"
 *   orders--billing--retry    its retries and replays
 *   orders--billing--dead     its dead letters
 *   orders--delay--due        the consumer group that moves delayed publishes on when they are due
 */

export const LANES: readonly Priority[] = ['high', 'normal', 'low'];

const LONGEST = 249;

export const laneTopic = (topic: string, lane: Priority): string => (lane === 'normal' ? topic : name(topic, lane));
export const laneTopics = (topic: string, lanes: boolean): readonly string[] =>
  lanes ? LANES.map((lane) => laneTopic(topic, lane)) : [topic];
export const delayTopic = (topic: string): string => name(topic, 'delay');
export const delayGroup = (topic: string): string => name(topic, 'delay', 'due');
export const groupId = (topic: string, group: string): string => name(topic, group);
export const retryTopic = (topic: string, group: string): string => name(topic, group, 'retry');
export const deadTopic = (topic: string, group: string): string => name(topic, group, 'dead');

/** Kafka allows 249 characters; of what is longer, the middle becomes a hash of the whole. */
function name(...parts: readonly string[]): string {
  const full = parts.join('--');
  if (full.length <= LONGEST) return full;
  const hash = createHash('sha256').update(full).digest('hex').slice(0, 32);
  const tail = `--${hash}--${parts.at(-1)!.slice(0, 64)}`;
  return full.slice(0, LONGEST - tail.length) + tail;
}
