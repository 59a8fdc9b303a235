import { createHash, randomUUID } from 'node:crypto';
import type { DedupeStore } from '../../src/port.ts';
import { type Link, loadClient, openLink } from './connection.ts';
import { dedupeSettings, type RedisCaller, type RedisDedupeOptions } from './dedupe-options.ts';
import { isTransient, notConnected } from './errors.ts';

/*
 * One string per message, which expires by itself:
 *
 *   hf:dedupe:<group, topic, identity>    `done`, for the window; or the token of a claim, for as long as it lasts
 */
const DONE = 'done';

/** Commits and renews, unless it is somebody else's. ARGV: token, `done` or the token again, for how long. */
const keepScript = `
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`;
const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`;

/** What has been tried so often in vain is the caller's to hear of. */
const TRIES = 3;

/**
 * Remembers handled messages in Redis ≥ 7.0 or Valkey, for consumers in any number of processes. See {@link DedupeStore}.
 *
 * One command per call, by the server's clock. Every key expires, so memory is bounded by the messages of one window, about
 * 220 bytes each. Remembers as well as the server does: what a failover, an eviction or a restart without append-only
 * file loses may be handled again.
 */
export function redisDedupe(options: RedisDedupeOptions): DedupeStore & {
  /** Ends the connection that the store opened; a client of the caller's stays open. */
  close(): Promise<void>;
} {
  const { client, connection, prefix, windowMs, claimMs } = dedupeSettings(options);
  let opening: Promise<Link> | undefined;
  let closed = false;

  async function open(): Promise<Link> {
    const link = await openLink(await loadClient(), connection!, 'holdfast:dedupe');
    if (closed) link.close();
    return link;
  }

  async function use(work: (caller: RedisCaller) => Promise<unknown>): Promise<unknown> {
    if (closed) throw notConnected();
    if (client !== undefined) return await work(client);
    opening ??= open().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    const link = await opening;
    await link.ready(connection!.commandTimeoutMs);
    return await link.use((live) => work(live as RedisCaller));
  }

  /** Each call may be done twice under one token, so a lost reply is worth another try. */
  async function insist(work: (caller: RedisCaller) => Promise<unknown>): Promise<unknown> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await use(work);
      } catch (error) {
        if (tries === TRIES || closed || !isTransient(error)) throw error;
      }
    }
  }

  const nameOf = (key: string): string => `${prefix}:dedupe:${plainOrHash(key)}`;

  return {
    claimMs,
    async claim(key) {
      const token = randomUUID();
      const held = await insist((caller) => caller.call('SET', nameOf(key), token, 'NX', 'GET', 'PX', claimMs));
      if (held === null || String(held) === token) return { state: 'new', token };
      return { state: String(held) === DONE ? 'done' : 'busy' };
    },
    async commit(key, token) {
      await insist((caller) => caller.call('EVAL', keepScript, 1, nameOf(key), token, DONE, windowMs));
    },
    async release(key, token) {
      await insist((caller) => caller.call('EVAL', releaseScript, 1, nameOf(key), token));
    },
    // Keys of a cluster may be on different nodes: one small script each, sent together.
    renew: (held) =>
      Promise.all(
        held.map(async ({ key, token }) => {
          const args = [keepScript, 1, nameOf(key), token, token, claimMs] as const;
          return (await insist((caller) => caller.call('EVAL', ...args))) === 1;
        }),
      ),
    async close() {
      closed = true;
      const link = await opening?.catch(() => undefined);
      link?.close();
    },
  };
}

/** Readable where that is short, and never the same for two keys. */
function plainOrHash(key: string): string {
  if (/^[\x20-\x7e\n]{1,200}$/.test(key) && !key.startsWith('sha256:')) return key;
  return `sha256:${createHash('sha256').update(JSON.stringify(key)).digest('hex')}`;
}
