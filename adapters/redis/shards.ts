import { randomInt } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Handle, Stream } from './flight.ts';
import { presentMarks } from './marks.ts';
import { allowWhenFull, run, runRaw, type Script, serverTime } from './scripts.ts';

/** The one consumer name of an ordered group's streams: who may act in it is decided by the fencing token alone. */
export const shardConsumer = 's';

/**
 * One heartbeat: renews what we hold, shares the shards out among the live consumers and takes what is ours and free.
 * Writes nothing when it need not renew and nothing has changed: so it may come often, and a hand-over is quick.
 *
 * Sharing: each shard goes to the live consumer with the highest hash(consumer, shard) that has not its full share yet.
 * Every consumer computes the same from the same registry, and few shards move when one comes or goes.
 *
 * Tokens rise by a random step: a failover may take back the writes of the last moments, and then the same number must
 * not be given to another.
 *
 * ARGV: consumer, lease ms, partitions, lanes with commas, renew (1 or 0), step, then shard and token of what we hold.
 * Answers per shard: `keep`, `yield` (ours, but somebody else's turn), `lost`, `token:<n>` (taken now), or '' (not ours).
 */
const heartbeatScript: Script = {
  name: 'heartbeat',
  lua: `${allowWhenFull}${serverTime}
local base, me, ttl, partitions = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held = {}
for i = 7, #ARGV, 2 do held[ARGV[i]] = ARGV[i + 1] end

local now = server_time()
local renew = ARGV[5] == '1' or not redis.call('ZSCORE', base .. ':live', me)
if renew then redis.call('ZADD', base .. ':live', now, me) end
redis.call('ZREMRANGEBYSCORE', base .. ':live', '-inf', now - ttl)
local members = redis.call('ZRANGE', base .. ':live', 0, -1)
local share = math.ceil(partitions / #members)
local load, out = {}, {}

for n = 0, partitions - 1 do
  local shard, owner, best = tostring(n), nil, ''
  for _, member in ipairs(members) do
    local weight = redis.sha1hex(member .. '/' .. shard)
    if (load[member] or 0) < share and weight > best then owner, best = member, weight end
  end
  load[owner] = (load[owner] or 0) + 1

  local lease, answer = base .. ':lease:' .. shard, ''
  if held[shard] then
    if redis.call('HGET', base .. ':fence', shard) == held[shard] then
      if renew then redis.call('SET', lease, me, 'PX', ttl) end
      answer = owner == me and 'keep' or 'yield'
    else
      answer = 'lost'
    end
  -- A lease that is ours without our knowing was taken in a reply that never arrived.
  elseif owner == me and (redis.call('GET', lease) == me or redis.call('SET', lease, me, 'NX', 'PX', ttl)) then
    redis.call('PEXPIRE', lease, ttl)
    for lane in string.gmatch(ARGV[4], '[^,]+') do
      redis.pcall('XGROUP', 'CREATE', base .. ':' .. lane .. ':' .. shard, 'g', '0', 'MKSTREAM')
    end
    answer = 'token:' .. redis.call('HINCRBY', base .. ':fence', shard, ARGV[6])
  end
  out[n + 1] = answer
end
return out
`,
};

const tokenStep = (): number => randomInt(1, 2 ** 32);

export interface Held {
  readonly shard: number;
  readonly token: string;
}

export async function heartbeat(
  client: Redis,
  base: string,
  me: {
    readonly consumer: string;
    readonly ttlMs: number;
    readonly partitions: number;
    readonly lanes: readonly string[];
    readonly renew: boolean;
  },
  held: readonly Held[],
): Promise<string[]> {
  const args = [me.consumer, me.ttlMs, me.partitions, me.lanes.join(','), me.renew ? 1 : 0, tokenStep()];
  const rows = held.flatMap(({ shard, token }) => [shard, token]);
  return (await run(client, heartbeatScript, base, [...args, ...rows])) as string[];
}

/**
 * Gives a shard up: whoever takes it next finds the unsettled entries unspent, in order. Raises the token, so that
 * nothing that we sent before can act any more. ARGV: shard, token, step, then suffix and entry id of what is unsettled.
 */
const releaseScript: Script = {
  name: 'release',
  lua: `${allowWhenFull}
local base, shard = KEYS[1], ARGV[1]
if redis.call('HGET', base .. ':fence', shard) ~= ARGV[2] then return 0 end
for i = 4, #ARGV, 2 do
  redis.call('XCLAIM', base .. ':' .. ARGV[i], 'g', '${shardConsumer}', 0, ARGV[i + 1], 'RETRYCOUNT', 0, 'JUSTID')
end
redis.call('HINCRBY', base .. ':fence', shard, ARGV[3])
redis.call('DEL', base .. ':lease:' .. shard)
return 1
`,
};

export async function releaseShard(
  client: Redis,
  base: string,
  { shard, token }: Held,
  unsettled: readonly Handle[],
): Promise<void> {
  const entries = unsettled.flatMap(({ suffix, entryId }) => [suffix, entryId]);
  await run(client, releaseScript, base, [shard, token, tokenStep(), ...entries]);
}

/** No longer counted when shards are shared out. */
export async function leaveShards(client: Redis, base: string, consumer: string): Promise<void> {
  await client.zrem(`${base}:live`, consumer);
}

/**
 * Reads streams under their shards' tokens. A plain XREADGROUP by a holder who has lost the shard without knowing would
 * take entries away from the new one, whose successors would then overtake them.
 *
 * ARGV: per stream suffix, shard, token, count, and a cursor: entries that are pending after it, or `>` for new ones.
 * Answers per stream: 0 where the shard is lost, else { entries, ids among them that were never counted as delivered,
 * last id the group was given (only where nothing was new) }.
 */
const fetchScript: Script = {
  name: 'fetch',
  lua: `${allowWhenFull}${presentMarks}
local out = {}
for i = 1, #ARGV, 5 do
  local suffix, shard, token, count, cursor = unpack(ARGV, i, i + 4)
  local stream, answer = KEYS[1] .. ':' .. suffix, 0
  if redis.call('HGET', KEYS[1] .. ':fence', shard) == token then
    local returned, last = {}, ''
    if cursor ~= '>' then
      for _, row in ipairs(redis.call('XPENDING', stream, 'g', '(' .. cursor, '+', count)) do
        if row[4] == 0 then returned[#returned + 1] = row[1] end
      end
    end
    local reply = redis.call('XREADGROUP', 'GROUP', 'g', '${shardConsumer}', 'COUNT', count, 'STREAMS', stream, cursor)
    local entries = reply and reply[1][2] or {}
    for _, entry in ipairs(entries) do
      if not entry[2] then redis.call('XACK', stream, 'g', entry[1]) end
    end
    if cursor ~= '>' then with_marks(KEYS[1], suffix, entries) end
    if #entries == 0 and cursor == '>' then
      local info = redis.call('XINFO', 'GROUPS', stream)[1]
      for j = 1, #info, 2 do
        if info[j] == 'last-delivered-id' then last = info[j + 1] end
      end
    end
    answer = { entries, returned, last }
  end
  out[#out + 1] = answer
end
return out
`,
};

export interface Fetched {
  readonly entries: readonly (readonly [Buffer, readonly Buffer[] | null])[];
  /** Entries that were given back unspent: nobody died over them. */
  readonly returned: ReadonlySet<string>;
  readonly lastGiven: string;
}

/** One answer per stream; undefined where the shard is lost. */
export async function fetchStreams(
  client: Redis,
  base: string,
  asked: readonly { readonly stream: Stream; readonly token: string; readonly count: number }[],
): Promise<(Fetched | undefined)[]> {
  const args = asked.flatMap(({ stream, token, count }) => {
    const cursor = stream.catchUp ? stream.cursor : '>';
    return [stream.suffix, stream.shard, token, count, cursor];
  });
  const reply = (await runRaw(client, fetchScript, base, args)) as (0 | [Fetched['entries'], Buffer[], Buffer])[];
  return reply.map((answer) => {
    if (answer === 0) return undefined;
    const [entries, returned, last] = answer;
    return {
      entries,
      returned: new Set(returned.map((id) => id.toString('latin1'))),
      lastGiven: last.toString('latin1'),
    };
  });
}
