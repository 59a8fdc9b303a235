import type { Redis } from 'ioredis';
import type { Settlement, SettleOutcome } from '../../src/port.ts';
import { giveBack } from './claims.ts';
import type { Handle } from './flight.ts';
import { copyFields, markFields } from './headers.ts';
import { isOurs } from './marks.ts';
import { type SettleNeeds, settleThroughOutages } from './outages.ts';
import { allowWhenFull, run, type Script, serverTime } from './scripts.ts';

/**
 * Settles a group's entries, each only while it is ours, and forgets the marks beside them. Every move is one step here, copy and removal together.
 *
 * ARGV: consumer, then per entry: kind, suffix, token, entry id, delay, number of mark fields, mark fields.
 * Answers one letter per entry: `s`ettled or stale (`x`).
 */
const settleScript: Script = {
  name: 'settle',
  lua: `${allowWhenFull}${serverTime}${copyFields}${giveBack}${isOurs}
local base, consumer = KEYS[1], ARGV[1]
local finished, out = {}, {}
local marked = redis.call('EXISTS', base .. ':marks') == 1

local function finish(suffix, id)
  local stream = base .. ':' .. suffix
  if marked then redis.call('HDEL', base .. ':marks', suffix .. '/' .. id) end
  local ids = finished[stream] or {}
  finished[stream] = ids
  ids[#ids + 1] = id
end

local i = 2
while i <= #ARGV do
  local kind, suffix, token, id, delay, count = unpack(ARGV, i, i + 5)
  local stream = base .. ':' .. suffix
  local done = 's'
  if not ours(base, consumer, suffix, token, id) then
    done = 'x'
  elseif kind == 'done' then
    finish(suffix, id)
  elseif kind == 'give-back' then
    if token == '' then
      give_back(stream, id)
    else
      redis.call('XCLAIM', stream, 'g', consumer, 0, id, 'RETRYCOUNT', 0, 'JUSTID')
    end
  else
    local entry = redis.call('XRANGE', stream, id, id)[1]
    if not entry then
      done = 'x'
    else
      local marks = { unpack(ARGV, i + 6, i + 5 + count) }
      local copy = copy_fields(entry[2], stream .. '/' .. id, marks)
      if kind == 'dead' then
        redis.call('XADD', base .. ':dead', '*', '_from', suffix, unpack(copy))
      elseif tonumber(delay) > 0 then
        local ticket = redis.call('INCR', string.match(base, '^(.*):') .. ':_:tickets')
        local member = string.format('%016x', ticket) .. cmsgpack.pack({ suffix, copy })
        redis.call('ZADD', base .. ':delayed', string.format('%.0f', server_time() + delay), member)
      else
        redis.call('XADD', stream, '*', unpack(copy))
      end
    end
    finish(suffix, id)
  end
  out[#out + 1] = done
  i = i + 6 + count
end
for stream, ids in pairs(finished) do
  redis.call('XACK', stream, 'g', unpack(ids))
  redis.call('XDEL', stream, unpack(ids))
end
return table.concat(out)
`,
};

/** Most entries of one script call: Lua unpacks at most 8,000 values, and a script holds up the whole server. */
const most = 500;

/** One outcome per settlement. */
export function settleEntries(
  needs: SettleNeeds,
  { base, consumer, patienceMs }: { base: string; consumer: string; patienceMs?: number },
  batch: readonly Settlement[],
): Promise<SettleOutcome[]> {
  return settleThroughOutages(needs, { count: batch.length, patienceMs }, async (client) => {
    const answers: Promise<unknown>[] = [];
    for (let from = 0; from < batch.length; from += most)
      answers.push(run(client, settleScript, base, [consumer, ...batch.slice(from, from + most).flatMap(argsOf)]));
    const letters = ((await Promise.all(answers)) as string[]).join('');
    await needs.crashPoint?.('redis:settle-written');
    return Array.from(letters, (letter) => (letter === 's' ? 'settled' : 'stale'));
  });
}

function argsOf(settlement: Settlement): (string | number)[] {
  const { suffix, token, entryId } = settlement.delivery.handle as Handle;
  const delay = settlement.kind === 'retry' ? Math.ceil(settlement.delayMs) : 0;
  const marks = 'marks' in settlement ? markFields(settlement.marks) : [];
  return [settlement.kind, suffix, token, entryId, delay, marks.length, ...marks];
}

/** Renews entries that are still pending for this consumer; a bare XCLAIM would steal back those that are not (S21). */
const extendScript: Script = {
  name: 'extend',
  lua: `${allowWhenFull}
for i = 2, #ARGV, 2 do
  local stream, id = KEYS[1] .. ':' .. ARGV[i], ARGV[i + 1]
  if #redis.call('XPENDING', stream, 'g', id, id, 1, ARGV[1]) == 1 then
    redis.call('XCLAIM', stream, 'g', ARGV[1], 0, id, 'JUSTID')
  end
end
`,
};

export async function extendEntries(
  client: Redis,
  key: string,
  consumer: string,
  handles: readonly Handle[],
): Promise<void> {
  await run(client, extendScript, key, [consumer, ...handles.flatMap(({ suffix, entryId }) => [suffix, entryId])]);
}
