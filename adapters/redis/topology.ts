import type { Redis } from 'ioredis';
import type { AdapterHooks, Topology } from '../../src/port.ts';
import { adapterError } from './errors.ts';
import { groupKey, topicKey } from './keys.ts';
import { allowWhenFull, run, type Script } from './scripts.ts';

/**
 * Adds groups to the topic's registry, which publishing reads (S4), or compares with it.
 * ARGV: create or verify, partitions, lanes (0 or 1), then name and `ordered` or `free` in turn.
 */
const declareScript: Script = {
  name: 'declare',
  lua: `${allowWhenFull}
local topic, create = KEYS[1], ARGV[1] == 'create'
local partitions = redis.call('HGET', topic, 'partitions')
if partitions and partitions ~= ARGV[2] then
  return { 'topology-conflict', 'it has ' .. partitions .. ' partitions, not ' .. ARGV[2] }
end
if not partitions and not create then return { 'topology-missing', 'it does not exist' } end
local lanes = redis.call('HGET', topic, 'lanes')
if lanes == '1' and ARGV[3] == '0' then return { 'topology-conflict', 'lanes' } end
if lanes == '0' and ARGV[3] == '1' and not create then return { 'topology-missing', 'it has no lanes' } end
for i = 4, #ARGV, 2 do
  local kind = redis.call('HGET', topic, 'group:' .. ARGV[i])
  if kind and kind ~= ARGV[i + 1] then
    local is = kind == 'ordered' and 'ordered' or 'not ordered'
    return { 'topology-conflict', 'its group ' .. ARGV[i] .. ' is ' .. is }
  end
  if not kind and not create then return { 'topology-missing', 'it has no group ' .. ARGV[i] } end
end
if create then
  redis.call('HSET', topic, 'partitions', ARGV[2], 'lanes', ARGV[3])
  for i = 4, #ARGV, 2 do redis.call('HSET', topic, 'group:' .. ARGV[i], ARGV[i + 1]) end
end
return {}
`,
};

/** Throws `topology-conflict` or, when only verifying, `topology-missing`. */
export async function declareTopology(
  client: Redis,
  prefix: string,
  topology: Topology,
  mode: AdapterHooks['declare'],
): Promise<void> {
  if (mode === 'none') return;
  const { topic, partitions, lanes, groups } = topology;
  const kinds = groups.flatMap(({ name, ordered }) => [name, ordered ? 'ordered' : 'free']);
  const args = [mode, partitions, lanes ? 1 : 0, ...kinds];
  const key = topicKey(prefix, topic);
  const [code, found] = (await run(client, declareScript, key, args)) as string[];
  if (code === undefined) return;
  const [detail, remedy] =
    found === 'lanes'
      ? [
          'it has the lanes high, normal and low, and is declared without priority: nobody would read high and low',
          `keep its priority; or stop its publishers, drain it and say HSET ${key} lanes 0`,
        ]
      : code === 'topology-conflict'
        ? [found, 'to change it, drain the topic and move to a new one']
        : [found, "declare it by a client that may create, or with declare: 'create'"];
  throw adapterError(code as 'topology-conflict' | 'topology-missing', `Redis topic "${topic}": ${detail}; ${remedy}`);
}

/** Consumer groups begin at the first entry: a stream begins with its group, so that is "since declared" (S5). */
const ensureScript: Script = {
  name: 'ensure',
  lua: `${allowWhenFull}
for i = 1, #ARGV do
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[1] .. ':' .. ARGV[i], 'g', '0', 'MKSTREAM')
  if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP') then return made end
end
return 'OK'
`,
};

/** Makes the streams of a group readable, where they are not. */
export async function ensureStreams(
  client: Redis,
  prefix: string,
  { topic, group, suffixes }: { topic: string; group: string; suffixes: readonly string[] },
): Promise<void> {
  await run(client, ensureScript, groupKey(prefix, topic, group), suffixes);
}
