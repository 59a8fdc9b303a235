import { partitionOf } from 'holdfast';
import { Redis } from 'ioredis';
import { flightReported, type GroupName, PARTITIONS } from '../topics.ts';
import type { FoundLetter, RawBroker } from './raw-broker.ts';

/** The server, by ioredis. */
export async function openRedis(url: string): Promise<RawBroker> {
  const redis = new Redis(url);
  const base = (group: GroupName): string => `hf:{${flightReported.name}}:${group}`;
  const shards = Array.from({ length: PARTITIONS }, (_, shard) => `${base('board')}:normal:${shard}`);
  return {
    async add({ id, key, body }) {
      const streams = [`${base('delays')}:normal`, shards[partitionOf(key, PARTITIONS)]!];
      for (const stream of streams) await redis.xadd(stream, '*', 'id', id, 'key', key, 'body', body);
    },
    async left(group) {
      let count = await redis.zcard(`${base(group)}:delayed`);
      for (const stream of group === 'board' ? shards : [`${base(group)}:normal`]) count += await redis.xlen(stream);
      return count;
    },
    dead: (group) => lettersIn(redis, `${base(group)}:dead`),
    async close() {
      redis.disconnect();
    },
  };
}

export async function lettersIn(redis: Redis, stream: string): Promise<readonly FoundLetter[]> {
  const entries = await redis.xrange(stream, '-', '+');
  return entries.map(([, fields]) => ({
    id: field(fields, 'id'),
    reason: field(fields, 'hf-reason'),
    attempts: Number(field(fields, 'hf-attempts')),
    body: field(fields, 'body'),
  }));
}

/** Of names and values in turn; a value is never taken for a name. */
function field(fields: readonly string[], name: string): string {
  const at = fields.findIndex((text, index) => index % 2 === 0 && text === name);
  return fields[at + 1] ?? '';
}
