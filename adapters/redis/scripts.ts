import type { Redis } from 'ioredis';

/** A Lua script: one atomic step on the server. */
export interface Script {
  readonly name: string;
  readonly lua: string;
}

/**
 * Scripts of the consuming side run even when the server is out of memory: they are what frees it.
 * Publishing does not, so that a full server refuses before anything is written.
 */
export const allowWhenFull = '#!lua flags=allow-oom\n';

/** Milliseconds on the server's clock: the only clock that delays and leases know. */
export const serverTime = `
local function server_time()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end
`;

type Call = (...args: (string | number | Buffer)[]) => Promise<unknown>;
const defined = new WeakMap<Redis, Set<string>>();

/** Runs a script on one key (its others are derived from it); text comes back as strings. */
export function run(
  client: Redis,
  script: Script,
  key: string,
  args: readonly (string | number | Buffer)[],
): Promise<unknown> {
  return command(client, script, '')(key, ...args);
}

/** The same, with every string of the reply as raw bytes. */
export function runRaw(
  client: Redis,
  script: Script,
  key: string,
  args: readonly (string | number | Buffer)[],
): Promise<unknown> {
  return command(client, script, 'Buffer')(key, ...args);
}

/** By digest once the connection knows the script, which ioredis tracks, and again in full after NOSCRIPT. */
function command(client: Redis, { name, lua }: Script, form: '' | 'Buffer'): Call {
  const names = defined.get(client) ?? new Set();
  if (!names.has(name)) {
    client.defineCommand(`hf_${name}`, { numberOfKeys: 1, lua });
    defined.set(client, names.add(name));
  }
  const call = (client as unknown as Record<string, Call>)[`hf_${name}${form}`]!;
  return (...args) => call.apply(client, args);
}
