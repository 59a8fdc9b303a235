import { hash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { AdapterHooks, Outgoing, PublishOutcome, Topology } from '../../src/port.ts';
import type { Link } from './connection.ts';
import { durable } from './durable.ts';
import { isReply, isTransient, neverSent, plain } from './errors.ts';
import { toCloudEvent, toFields } from './headers.ts';
import { topicKey } from './keys.ts';
import type { Settings } from './options.ts';
import { type Packable, pack } from './pack.ts';
import { run, type Script, serverTime } from './scripts.ts';

/**
 * Stores a batch in every group of its topic, in one step. ARGV: the packed messages, the dedupe window.
 *
 * Identities are kept in one set per window, and the window before counts too, so each is known for one to two windows.
 * Memory is checked by Redis at the first write only: a batch is refused whole, or stored whole.
 * Answers one line per message: an entry id, `again` (stored before), `!error` (nothing stored) or `?error` (partly).
 */
const publishScript: Script = {
  name: 'publish',
  lua: `${serverTime}
local topic = KEYS[1]
local groups = {}
local registry = redis.call('HGETALL', topic)
for i = 1, #registry, 2 do
  if string.sub(registry[i], 1, 6) == 'group:' then
    groups[#groups + 1] = { topic .. ':' .. string.sub(registry[i], 7), registry[i + 1] == 'ordered' }
  end
end
if #groups == 0 then return '' end

local batch = cmsgpack.unpack(ARGV[1])
local window = tonumber(ARGV[2])
local now = server_time()
local slice = math.floor(now / window)
local recent = topic .. ':_:seen:' .. slice
local identities = {}
for i, message in ipairs(batch) do identities[i] = message[1] end
local seen = redis.call('SMISMEMBER', recent, unpack(identities))
local before = redis.call('SMISMEMBER', topic .. ':_:seen:' .. (slice - 1), unpack(identities))

local stored, fresh, answers = {}, {}, {}
for i, message in ipairs(batch) do
  local identity, lane, shard, delay, fields = unpack(message)
  local answer
  if seen[i] == 1 or before[i] == 1 or stored[identity] then
    answer = 'again'
    fresh[#fresh + 1] = identity
  else
    for _, group in ipairs(groups) do
      local stream = lane
      if group[2] then stream = lane .. ':' .. shard end
      local reply
      if delay > 0 then
        local ticket = redis.pcall('INCR', topic .. ':_:tickets')
        if type(ticket) == 'table' then
          reply = ticket
        else
          local member = string.format('%016x', ticket) .. cmsgpack.pack({ stream, fields })
          reply = redis.pcall('ZADD', group[1] .. ':delayed', string.format('%.0f', now + delay), member)
        end
      else
        reply = redis.pcall('XADD', group[1] .. ':' .. stream, '*', unpack(fields))
      end
      if type(reply) == 'table' and reply.err then
        -- The server takes no writes at all (OOM, READONLY …): it said so at the first.
        if not answer and #fresh == 0 and not string.find(reply.err, '^WRONGTYPE') and not string.find(reply.err, '^ERR') then
          return reply
        end
        answer = (answer and '?' or '!') .. reply.err
        break
      end
      answer = answer or tostring(reply)
    end
    local first = string.sub(answer, 1, 1)
    if first ~= '!' and first ~= '?' then
      stored[identity] = true
      fresh[#fresh + 1] = identity
    end
  end
  answers[i] = answer
end
-- Repeated identities too: that keeps them known, and gives a wait for replicas or fsync a write to wait for.
if #fresh > 0 then
  redis.call('SADD', recent, unpack(fresh))
  redis.call('PEXPIRE', recent, 2 * window)
end
return table.concat(answers, '\\n')
`,
};

export interface PublishNeeds {
  readonly settings: Settings;
  readonly crashPoint: AdapterHooks['crashPoint'];
  link(): Promise<Link>;
  /** Brings back the topic's registry after the server lost it. */
  redeclare(topology: Topology): Promise<void>;
}

/** One script call per topic in the batch; never waits longer than the deadline. */
export async function publish(
  needs: PublishNeeds,
  batch: readonly Outgoing[],
  limit: { readonly deadline: number; readonly signal: AbortSignal },
): Promise<readonly PublishOutcome[]> {
  if (limit.signal.aborted) return batch.map(() => ({ kind: 'rejected', error: limit.signal.reason }));
  const byTopic = Map.groupBy(batch.keys(), (index) => batch[index]!.topology.topic);
  const outcomes = new Array<PublishOutcome>(batch.length);
  await Promise.all(
    [...byTopic.values()].map(async (indexes) => {
      const messages = byTopic.size === 1 ? batch : indexes.map((index) => batch[index]!);
      const answered = await untilLimit(publishTopic(needs, messages), messages.length, limit);
      for (const [at, index] of indexes.entries()) outcomes[index] = answered[at]!;
    }),
  );
  return outcomes;
}

async function publishTopic(needs: PublishNeeds, messages: readonly Outgoing[]): Promise<PublishOutcome[]> {
  const { settings } = needs;
  const topology = messages[0]!.topology;
  const key = topicKey(settings.prefix, topology.topic);
  let bytes = 1_000;
  for (const message of messages) bytes += message.body.length + 500;
  const packed = pack(messages.map(packable(settings.wire === 'lean' ? toFields : toCloudEvent)), bytes);
  try {
    const link = await needs.link();
    const send = (): Promise<string> =>
      link.use(async (client: Redis) => {
        const reply = await run(client, publishScript, key, [packed, settings.dedupeWindowMs]);
        await needs.crashPoint?.('redis:publish-written');
        await durable(client, settings.durability);
        return reply as string;
      });
    let reply = await send();
    if (reply === '' && topology.groups.length > 0) {
      await needs.redeclare(topology);
      reply = await send();
    }
    if (reply === '') return messages.map(() => ({ kind: 'unroutable' }));
    return reply.split('\n').map(outcomeOf);
  } catch (error) {
    return messages.map(() => failureOf(error));
  }
}

const packable =
  (write: typeof toFields) =>
  (message: Outgoing): Packable => {
    const { lane, partition, delayMs } = message;
    return [identityOf(message), lane, String(partition ?? 0), Math.ceil(delayMs), write(message)];
  };

/** S12: the dedupe key, else source and id; 132 bits of its digest. */
function identityOf({ dedupeKey, source, id }: Outgoing): string {
  return hash('sha1', dedupeKey === undefined ? `id\n${source}\n${id}` : `key\n${dedupeKey}`, 'base64url').slice(0, 22);
}

function outcomeOf(line: string): PublishOutcome {
  const rest = line.slice(1);
  if (line.startsWith('!')) return { kind: 'rejected', error: replyError(rest) };
  if (line.startsWith('?')) return { kind: 'unknown', error: replyError(rest) };
  return line.includes('-') ? { kind: 'confirmed', position: line } : { kind: 'confirmed' };
}

function replyError(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' });
}

/** A whole call that failed: refused before it ran, or nobody knows. */
function failureOf(error: unknown): PublishOutcome {
  const ours = (error as { adapterCode?: unknown } | null)?.adapterCode !== undefined;
  const refused = ours || neverSent(error) || (isReply(error) && (isTransient(error) || notBegun.test(String(error))));
  return { kind: refused ? 'rejected' : 'unknown', error: plain(error) };
}

/** Replies that come instead of a script's run, beside the transient ones. */
const notBegun = /^ReplyError: (NOPERM|NOAUTH|WRONGPASS|MOVED|CROSSSLOT|ERR unknown command|ERR Protocol error)/;

function untilLimit(
  work: Promise<PublishOutcome[]>,
  count: number,
  { deadline, signal }: { readonly deadline: number; readonly signal: AbortSignal },
): Promise<PublishOutcome[]> {
  return new Promise((resolve) => {
    const end = (outcomes: PublishOutcome[]) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      resolve(outcomes);
    };
    const giveUp = () => {
      const error = new Error('no reply from Redis by the deadline');
      end(Array.from({ length: count }, () => ({ kind: 'unknown', error })));
    };
    const timer = setTimeout(giveUp, Math.min(2 ** 31 - 1, Math.max(0, deadline - Date.now())));
    signal.addEventListener('abort', giveUp);
    work.then(end, giveUp);
  });
}
