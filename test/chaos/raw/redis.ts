import { Redis } from 'ioredis';
import { topicOf } from '../topics.ts';
import { checkIn, type RawBroker } from './raw-broker.ts';

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
    async dead(group) {
      const entries = await redis.xrange(`hf:{${topicOf(group)}}:${group}:dead`, '-', '+');
      return entries.map(([, fields]) => ({
        id: field(fields, 'id'),
        reason: field(fields, 'hf-reason'),
        attempts: Number(field(fields, 'hf-attempts')),
        check: checkIn(field(fields, 'body')),
      }));
    },
    async close() {
      redis.disconnect();
    },
  };
}

/** Of names and values in turn; a value is never taken for a name. */
function field(fields: readonly string[], name: string): string {
  const at = fields.findIndex((text, index) => index % 2 === 0 && text === name);
  return fields[at + 1] ?? '';
}
