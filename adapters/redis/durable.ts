import type { Redis } from 'ioredis';
import { notDurable } from './errors.ts';
import type { Durability } from './options.ts';

/**
 * Waits until what this connection has written so far is as durable as configured. Both commands answer with counts, also
 * when they time out: a count below the target is no confirm.
 */
export async function durable(client: Redis, { waitAof, replicas, timeoutMs }: Durability): Promise<void> {
  if (waitAof) {
    const [local = 0, remote = 0] = (await client.call('WAITAOF', 1, replicas, timeoutMs)) as number[];
    if (local < 1 || remote < replicas)
      throw notDurable(`synced by ${local} of 1 server and ${remote} of ${replicas} replicas within ${timeoutMs} ms`);
  } else if (replicas > 0) {
    const reached = Number(await client.call('WAIT', replicas, timeoutMs));
    if (reached < replicas) throw notDurable(`reached ${reached} of ${replicas} replicas within ${timeoutMs} ms`);
  }
}
