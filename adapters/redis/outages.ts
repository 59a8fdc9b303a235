import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { AdapterHooks, SettleOutcome } from '../../src/port.ts';
import type { Link } from './connection.ts';
import { durable } from './durable.ts';
import { isNotDurable, isTransient, neverSent } from './errors.ts';
import type { Settings } from './options.ts';

export interface SettleNeeds {
  readonly settings: Settings;
  readonly control: Link;
  readonly crashPoint: AdapterHooks['crashPoint'];
}

/** How long a settlement waits for the server to come back. A lease that ends meanwhile makes it stale, not wrong. */
const settlePatienceMs = 30_000;

/**
 * Settles durably, and over lost connections: each script settles an entry once, so sending it again is safe. Never
 * rejects. After a doubtful try, `stale` may mean that just this try had settled it: that is `unknown`.
 */
export async function settleThroughOutages(
  { settings, control: link }: SettleNeeds,
  what: { readonly count: number; readonly patienceMs?: number | undefined },
  work: (client: Redis) => Promise<SettleOutcome[]>,
): Promise<SettleOutcome[]> {
  const { count, patienceMs = settlePatienceMs } = what;
  const until = performance.now() + patienceMs;
  let doubtful = false;
  for (;;) {
    try {
      await link.ready(Math.max(1, until - performance.now()));
      const outcomes = await link.use(async (client) => {
        const settled = await work(client);
        await durable(client, settings.durability);
        return settled;
      });
      return doubtful ? outcomes.map((outcome) => (outcome === 'stale' ? 'unknown' : outcome)) : outcomes;
    } catch (error) {
      doubtful ||= !neverSent(error);
      if (link.closed || isNotDurable(error) || !isTransient(error) || performance.now() >= until) break;
      await sleep(20);
    }
  }
  return new Array<SettleOutcome>(count).fill('unknown');
}
