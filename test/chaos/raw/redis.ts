import { Redis } from 'ioredis';
import { lettersIn } from '../../../examples/demo/raw/redis.ts';
import { topicOf } from '../topics.ts';
import { checked, type RawBroker } from './raw-broker.ts';

/** The server, by ioredis. Entries that are settled are deleted, so a stream's length is all that is left, pending ones included. */
export async function openRedis(url: string): Promise<RawBroker> {
  const redis = new Redis(url);
  redis.on('error', () => undefined);
  return {
    async left() {
      const left = new Map<string, number>();
      for (const key of (await redis.keys('hf:{chaos.*')).filter((name) => !/:dead$|:wake$|:_:/.test(name))) {
        if (key.endsWith(':delayed')) left.set(key, await redis.zcard(key));
        else if ((await redis.type(key)) === 'stream') left.set(key, await redis.xlen(key));
      }
      return left;
    },
    dead: async (group) => (await lettersIn(redis, `hf:{${topicOf(group)}}:${group}:dead`)).map(checked),
    async close() {
      redis.disconnect();
    },
  };
}
