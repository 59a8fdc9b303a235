import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { callersFor, openLoop, type Rival } from '../contender.ts';
import { type Event, event } from '../payload.ts';

type Entries = readonly (readonly [id: string, fields: readonly string[]])[];

/** ioredis as an expert uses it: pipelined XADD, XREADGROUP in blocks of 100, one XACK and XDEL per block. */
export function rawRedis(url: string): Rival {
  return {
    name: 'ioredis',
    async open() {
      const stream = `bench:${randomUUID()}`;
      const writer = new Redis(url, { enableAutoPipelining: true });
      const reader = new Redis(url, { protocol: 2 });
      await reader.xgroup('CREATE', stream, 'bench', '0', 'MKSTREAM');
      const publish = (index: number): Promise<unknown> => {
        const payload = event(index);
        return writer.xadd(
          stream,
          '*',
          'id',
          randomUUID(),
          'source',
          'bench',
          'key',
          payload.tenant,
          'type',
          'application/json',
          'at',
          Date.now(),
          'body',
          JSON.stringify(payload),
        );
      };
      const each = async (handler: (payload: Event) => void, count: number): Promise<number> => {
        let handled = 0;
        let firstAt = 0;
        while (handled < count) {
          const read = (await reader.xreadgroup(
            'GROUP',
            'bench',
            'one',
            'COUNT',
            100,
            'BLOCK',
            500,
            'STREAMS',
            stream,
            '>',
          )) as [string, Entries][] | null;
          const entries = read?.[0]?.[1] ?? [];
          if (entries.length === 0) continue;
          firstAt ||= performance.now();
          for (const [, fields] of entries) handler(JSON.parse(fields.at(-1)!) as Event);
          const ids = entries.map(([id]) => id);
          await reader
            .pipeline()
            .xack(stream, 'bench', ...ids)
            .xdel(stream, ...ids)
            .exec();
          handled += entries.length;
        }
        return count / ((performance.now() - firstAt) / 1_000);
      };
      return {
        publish: (callers, seconds) => callersFor(callers, seconds, publish),
        consume: (count) => each(() => undefined, count),
        async latency(rate, seconds) {
          const times: number[] = [];
          const done = each(({ at }) => void times.push(performance.now() - at), rate * seconds);
          await openLoop(rate, seconds, (index) => void publish(index));
          await done;
          return times;
        },
        async close() {
          await writer.del(stream);
          writer.disconnect();
          reader.disconnect();
        },
      };
    },
  };
}
