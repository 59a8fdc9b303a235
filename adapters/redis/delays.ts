import type { Redis } from 'ioredis';
import { allowWhenFull, run, type Script, serverTime } from './scripts.ts';

/** Entries moved by one call at most. */
const most = 100;

/** Moves what is due by the server's clock into its stream. Answers how many, and milliseconds until the next (-1: none). */
const moveScript: Script = {
  name: 'move',
  lua: `${allowWhenFull}${serverTime}
local delayed = KEYS[1] .. ':delayed'
local next = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if #next == 0 then return { 0, -1 } end
local now = server_time()
local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', string.format('%.0f', now), 'LIMIT', 0, ${most})
for _, member in ipairs(due) do
  local stream, fields = unpack(cmsgpack.unpack(string.sub(member, 17)))
  redis.call('XADD', KEYS[1] .. ':' .. stream, '*', unpack(fields))
  redis.call('ZREM', delayed, member)
end
next = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if #next == 0 then return { #due, -1 } end
return { #due, math.max(0, tonumber(next[2]) - now) }
`,
};

export interface Mover {
  /** Something of ours is due in so many milliseconds: looks then, at the latest. */
  nudge(delayMs: number): void;
  stop(): void;
}

/** Longest time between two looks: what other clients delayed is late by this much at most, beside the load. */
const pollMs = 250;

/** Moves a group's delayed messages, from every client that consumes the group. */
export function startMover(key: string, use: (work: (client: Redis) => Promise<unknown>) => Promise<unknown>): Mover {
  let timer: NodeJS.Timeout | undefined;
  let at = Number.POSITIVE_INFINITY;
  let stopped = false;

  function schedule(delayMs: number): void {
    const wanted = performance.now() + delayMs;
    if (stopped || wanted >= at) return;
    clearTimeout(timer);
    at = wanted;
    timer = setTimeout(look, delayMs);
  }
  async function look(): Promise<void> {
    at = Number.POSITIVE_INFINITY;
    let waitMs = pollMs;
    try {
      const [moved, untilNext] = (await use((client) => run(client, moveScript, key, []))) as [number, number];
      if (moved === most) waitMs = 0;
      else if (untilNext >= 0) waitMs = Math.min(pollMs, Math.max(1, untilNext));
    } catch {
      // Not connected, or a full server: the next look finds out.
    }
    schedule(waitMs);
  }

  schedule(0);
  return {
    nudge: schedule,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
