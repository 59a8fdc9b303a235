import type { ManagementApi, Policy } from './management.ts';

/** What a policy on a queue of ours breaks, for people; undefined where it breaks nothing. */
export function harmOf(policy: Policy): string | undefined {
  // Seen on 4.0 and 4.3: of a policy's limit and an argument of -1 the policy's counts.
  if (Number(policy['delivery-limit']) >= 0) {
    return `delivery-limit ${policy['delivery-limit']}: RabbitMQ drops what was returned more often`;
  }
  if (policy['message-ttl'] !== undefined) return 'message-ttl: RabbitMQ drops what waits for longer';
  if (policy.expires !== undefined)
    return 'expires: RabbitMQ deletes the queue with all that is in it when nobody uses it';
  const limited = policy['max-length'] !== undefined || policy['max-length-bytes'] !== undefined;
  if (limited && !String(policy.overflow).startsWith('reject-publish')) {
    return 'max-length without overflow reject-publish: RabbitMQ drops the oldest';
  }
  return undefined;
}

export interface Verdict {
  /** What a policy breaks, by queue. */
  readonly harms: ReadonlyMap<string, string>;
  /** Queues whose delivery limit a policy takes away, as an argument would. */
  readonly unlimited: ReadonlySet<string>;
}

/** What policies do to the topic's queues; undefined without the management API, or while it does not answer. */
export async function judgePolicies(
  topic: string,
  management: ManagementApi | undefined,
): Promise<Verdict | undefined> {
  const policies = await management?.policies(topic).catch(() => undefined);
  if (policies === undefined) return undefined;
  const harms = new Map<string, string>();
  const unlimited = new Set<string>();
  for (const [queue, policy] of policies) {
    if (Number(policy['delivery-limit']) < 0) unlimited.add(queue);
    const harm = harmOf(policy);
    if (harm !== undefined) harms.set(queue, harm);
  }
  return { harms, unlimited };
}
