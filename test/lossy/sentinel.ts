/** A primary, its replica and three Sentinels: the primary is killed while the replica is behind, and the replica takes over. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisOptions } from 'holdfast/redis';
import { Redis } from 'ioredis';
import { startWatched } from '../adapters/redis-sentinel.ts';
import { now } from '../chaos/ledger-file.ts';
import type { Server } from '../fleet/index.ts';
import { idsIn } from './redis.ts';
import { type Scene, until } from './scene.ts';

/** On one machine a replica is hardly ever behind; over a network that stalls it is, by so much. */
const BEHIND_MS = { least: 200, most: 1_000 } as const;

export async function openSentinel({ durability }: Pick<RedisOptions, 'durability'>): Promise<Scene> {
  const watched = await startWatched();
  const portOf = ({ url }: Server): string => new URL(url).port;
  const primary = async (): Promise<Server> =>
    (await watched.primaryPort()) === portOf(watched.primary) ? watched.primary : watched.replica;
  let killed: Server | undefined;
  return {
    version: watched.primary.version,
    link: {
      via: 'redis',
      options: {
        sentinels: watched.options,
        commandTimeoutMs: 1_000,
        ...(durability === undefined ? {} : { durability }),
      },
    },
    async prepare() {},
    async strike(_, chance) {
      killed = await primary();
      await asked(killed.url, async (redis) => {
        await redis.acl('SETUSER', 'follower', 'off');
        await redis.call('CLIENT', 'KILL', 'TYPE', 'replica');
      });
      await sleep(BEHIND_MS.least + chance * (BEHIND_MS.most - BEHIND_MS.least));
      const at = now();
      await killed.kill();
      return at;
    },
    async recover() {
      const old = killed!;
      await until('the Sentinels name another primary', async () => (await watched.primaryPort()) !== portOf(old));
      // By its configuration it lets replicas in again, and by the Sentinels it becomes one.
      await old.restart();
      const { url } = await primary();
      await until('the new primary has a replica', async () =>
        (await asked(url, (redis) => redis.info('replication'))).includes('state=online'),
      );
    },
    async found(topic) {
      return await idsIn((await primary()).url, topic);
    },
    close: () => watched.stop(),
  };
}

async function asked<T>(url: string, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { protocol: 2 });
  redis.on('error', () => undefined);
  try {
    return await question(redis);
  } finally {
    redis.disconnect();
  }
}
