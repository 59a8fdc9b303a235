import type { Redis } from 'ioredis';
import type { Backlog } from '../../src/port.ts';
import { returnedConsumer } from './claims.ts';
import { allowWhenFull, run, type Script, serverTime } from './scripts.ts';

/**
 * Counts a group in one step. Settled entries are deleted, so a stream's length is what is ready and what is pending.
 * Due messages that nobody has moved yet are ready, and so is what was given back. ARGV: the streams' suffixes.
 */
const backlogScript: Script = {
  name: 'backlog',
  lua: `${allowWhenFull}${serverTime}
local base, now = KEYS[1], server_time()
local stored, pending, oldest = 0, 0, 0
for i = 1, #ARGV do
  local stream = base .. ':' .. ARGV[i]
  local length = redis.call('XLEN', stream)
  stored = stored + length
  if length > 0 then
    local summary = redis.pcall('XPENDING', stream, 'g')
    if not summary.err then
      local held = summary[1]
      for _, row in ipairs(summary[4] or {}) do
        if row[1] == '${returnedConsumer}' then held = held - row[2] end
      end
      pending = pending + math.min(held, length)
    end
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local since = tonumber(string.match(first[1], '^%d+'))
    for j = 1, #first[2], 2 do
      if first[2][j] == 'time' then since = tonumber(first[2][j + 1]) or since end
    end
    oldest = math.max(oldest, now - since)
  end
end
local late = redis.call('ZCOUNT', base .. ':delayed', '-inf', string.format('%.0f', now))
local delayed = redis.call('ZCARD', base .. ':delayed') - late
return { stored - pending + late, pending, delayed, redis.call('XLEN', base .. ':dead'), math.floor(oldest) }
`,
};

export async function backlogOf(client: Redis, base: string, suffixes: readonly string[]): Promise<Backlog> {
  const counted = (await run(client, backlogScript, base, suffixes)) as [number, number, number, number, number];
  const [ready, inFlight, delayed, dead, oldestAgeMs] = counted;
  return { ready, inFlight, delayed, dead, oldestAgeMs, exact: true };
}
