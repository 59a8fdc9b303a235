import type { Redis } from 'ioredis';
import { allowWhenFull, run, type Script } from './scripts.ts';

/**
 * Removes consumers of a group that hold nothing: with one that does, XGROUP DELCONSUMER would drop what is pending.
 * ARGV: a name or '', idle ms, the streams' suffixes. Removes who has this name, and who was idle for longer than that.
 */
const reapScript: Script = {
  name: 'reap',
  lua: `${allowWhenFull}
for i = 3, #ARGV do
  local stream = KEYS[1] .. ':' .. ARGV[i]
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'g')
  for _, row in ipairs(consumers) do
    local info = {}
    for j = 1, #row, 2 do info[row[j]] = row[j + 1] end
    if info.pending == 0 and (info.name == ARGV[1] or info.idle > tonumber(ARGV[2])) then
      redis.call('XGROUP', 'DELCONSUMER', stream, 'g', info.name)
    end
  end
end
`,
};

export interface Reaper {
  /** Removes who is gone: at once, so that processes that live shortly leave no names either, then once a minute. */
  look(client: Redis): Promise<void>;
  /** Removes one by name, now. */
  remove(client: Redis, consumer: string): Promise<void>;
}

const everyMs = 60_000;

/** Every consumer has a name of its own; those of dead ones would stay for ever. A live one that is removed comes back. */
export function newReaper(
  base: string,
  suffixes: readonly string[],
  leaseMs: number,
  goneAfterMs: number = Math.max(600_000, leaseMs * 10),
): Reaper {
  let next = 0;
  return {
    async look(client) {
      if (performance.now() < next) return;
      next = performance.now() + everyMs;
      await run(client, reapScript, base, ['', goneAfterMs, ...suffixes]);
    },
    async remove(client, consumer) {
      await run(client, reapScript, base, [consumer, 2 ** 52, ...suffixes]);
    },
  };
}
