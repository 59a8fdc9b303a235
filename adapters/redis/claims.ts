import type { Redis } from 'ioredis';
import type { Entry } from './flight.ts';
import { presentMarks } from './marks.ts';
import { allowWhenFull, runRaw, type Script } from './scripts.ts';

/**
 * Who holds what was given back. Entries keep their place in the stream, so they come before all that is new.
 */
export const returnedConsumer = '_';

/**
 * A stream beside the lanes that wakes one blocked reader when something was given back: nothing else would,
 * since what is given back is not new.
 */
export const wakeSuffix = 'wake';

/**
 * Lua: gives an entry back unspent. The first of a call wakes a reader.
 */
export const giveBack: string = `
local woken = false
local function give_back(stream, id)
  redis.call('XCLAIM', stream, 'g', '${returnedConsumer}', 0, id, 'RETRYCOUNT', 0, 'JUSTID')
  if woken then return end
  woken = true
  redis.call('XADD', KEYS[1] .. ':${wakeSuffix}', 'MAXLEN', 1, '*', 'w', '')
end
`;

/**
 * Takes what was given back and what has been idle for a lease, oldest first.
 * ARGV: consumer, lease ms, id of the wake entry that led here or '', then per stream suffix and count.
 * Answers per stream { given back, expired }.
 */
const claimScript: Script = {
  name: 'claim',
  lua: `${allowWhenFull}${presentMarks}
local me, lease, wake, out = ARGV[1], ARGV[2], KEYS[1] .. ':${wakeSuffix}', {}
if ARGV[3] ~= '' then
  redis.call('XACK', wake, 'g', ARGV[3])
  redis.call('XDEL', wake, ARGV[3])
end
local function take(suffix, rows)
  if #rows == 0 then return {} end
  local ids = {}
  for i, row in ipairs(rows) do ids[i] = row[1] end
  return with_marks(KEYS[1], suffix, redis.call('XCLAIM', KEYS[1] .. ':' .. suffix, 'g', me, 0, unpack(ids)))
end
for i = 4, #ARGV, 2 do
  local stream, count = KEYS[1] .. ':' .. ARGV[i], tonumber(ARGV[i + 1])
  local rows = redis.call('XPENDING', stream, 'g', '-', '+', count, '${returnedConsumer}')
  local returned, expired = take(ARGV[i], rows), {}
  if #rows < count then
    expired = take(ARGV[i], redis.call('XPENDING', stream, 'g', 'IDLE', lease, '-', '+', count - #rows))
  elseif #redis.call('XPENDING', stream, 'g', '-', '+', 1, '${returnedConsumer}') > 0 then
    redis.call('XADD', wake, 'MAXLEN', 1, '*', 'w', '')
  end
  out[#out + 1] = { returned, expired }
end
return out
`,
};

export interface Claimed {
  readonly returned: readonly Entry[];
  readonly expired: readonly Entry[];
}

export async function claimEntries(
  client: Redis,
  base: string,
  me: { readonly consumer: string; readonly leaseMs: number; readonly wakeId: string },
  asked: readonly { readonly suffix: string; readonly count: number }[],
): Promise<Claimed[]> {
  const args = [me.consumer, me.leaseMs, me.wakeId, ...asked.flatMap(({ suffix, count }) => [suffix, count])];
  const reply = (await runRaw(client, claimScript, base, args)) as [Entry[], Entry[]][];
  return reply.map(([returned, expired]) => ({ returned, expired }));
}

/**
 * What became ours in replies that never arrived, after a cursor: some of it was read as new, some taken over.
 * ARGV: consumer, suffix, count, cursor. Answers { entries, ids among them that were delivered before }.
 */
const catchUpScript: Script = {
  name: 'catch_up',
  lua: `${allowWhenFull}${presentMarks}
local consumer, suffix, count, cursor = unpack(ARGV)
local stream, before = KEYS[1] .. ':' .. suffix, {}
for _, row in ipairs(redis.call('XPENDING', stream, 'g', '(' .. cursor, '+', count, consumer)) do
  if row[4] > 1 then before[#before + 1] = row[1] end
end
local reply = redis.call('XREADGROUP', 'GROUP', 'g', consumer, 'COUNT', count, 'STREAMS', stream, cursor)
return { with_marks(KEYS[1], suffix, reply and reply[1][2] or {}), before }
`,
};

export async function catchUpEntries(
  client: Redis,
  base: string,
  asked: { readonly consumer: string; readonly suffix: string; readonly count: number; readonly cursor: string },
): Promise<{ readonly entries: readonly Entry[]; readonly suspects: ReadonlySet<string> }> {
  const { consumer, suffix, count, cursor } = asked;
  const reply = await runRaw(client, catchUpScript, base, [consumer, suffix, count, cursor]);
  const [entries, before] = reply as [Entry[], Buffer[]];
  return { entries, suspects: new Set(before.map((id) => id.toString('latin1'))) };
}
