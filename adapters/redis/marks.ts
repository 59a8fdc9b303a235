import type { Delivery, Headers, SettleOutcome } from '../../src/port.ts';
import type { Handle } from './flight.ts';
import { copyFields, markFields } from './headers.ts';
import { type SettleNeeds, settleThroughOutages } from './outages.ts';
import { allowWhenFull, run, type Script } from './scripts.ts';

/*
 * A stream entry cannot be changed. Marks of one that stays unsettled stand in a hash beside the streams until it is
 * settled. The hash is there only while it holds any, and each script asks once whether it is.
 */

/**
 * Lua: whether an entry is ours: pending for this consumer and, in an ordered group, under the shard's present fencing
 * token. XACK itself would ask neither.
 */
export const isOurs: string = `
local fences = {}
local function ours(base, consumer, suffix, token, id)
  if token ~= '' then
    local shard = string.match(suffix, '%d+$')
    fences[shard] = fences[shard] or redis.call('HGET', base .. ':fence', shard) or 'none'
    if fences[shard] ~= token then return false end
  end
  local rows = redis.pcall('XPENDING', base .. ':' .. suffix, 'g', id, id, 1, consumer)
  return not rows.err and #rows == 1
end
`;

/** Lua: puts the present marks on entries that are read again. */
export const presentMarks: string = `${copyFields}
local marked
local function with_marks(base, suffix, entries)
  for _, entry in ipairs(entries) do
    if marked == nil then marked = redis.call('EXISTS', base .. ':marks') == 1 end
    if not marked then break end
    local packed = entry[2] and redis.call('HGET', base .. ':marks', suffix .. '/' .. entry[1])
    if packed then
      entry[2] = copy_fields(entry[2], base .. ':' .. suffix .. '/' .. entry[1], cmsgpack.unpack(packed))
    end
  end
  return entries
end
`;

/** ARGV: consumer, suffix, token, entry id, mark fields. Answers 1, or 0 where the entry is not ours. */
const markScript: Script = {
  name: 'mark',
  lua: `${allowWhenFull}${isOurs}
local consumer, suffix, token, id = unpack(ARGV, 1, 4)
if not ours(KEYS[1], consumer, suffix, token, id) then return 0 end
redis.call('HSET', KEYS[1] .. ':marks', suffix .. '/' .. id, cmsgpack.pack({ unpack(ARGV, 5) }))
return 1
`,
};

export async function markEntry(
  needs: SettleNeeds,
  { base, consumer }: { base: string; consumer: string },
  { handle }: Delivery,
  marks: Headers,
): Promise<SettleOutcome> {
  const { suffix, token, entryId } = handle as Handle;
  const args = [consumer, suffix, token, entryId, ...markFields(marks)];
  const [outcome] = await settleThroughOutages(needs, { count: 1 }, async (client) => {
    const answer = await run(client, markScript, base, args);
    await needs.crashPoint?.('redis:mark-written');
    return [answer === 1 ? 'settled' : 'stale'];
  });
  return outcome!;
}
