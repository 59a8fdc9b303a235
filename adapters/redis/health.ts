import type { Redis } from 'ioredis';
import type { AdapterHealth } from '../../src/port.ts';
import { adapterError } from './errors.ts';
import type { Settings } from './options.ts';

/** What matters of the server's configuration; undefined where it does not say. */
export interface ServerFacts {
  readonly version: string;
  readonly mode: string;
  readonly evictionPolicy: string | undefined;
  readonly appendOnly: boolean;
  readonly appendFsync: string | undefined;
}

export async function inspectServer(client: Redis): Promise<ServerFacts> {
  const info = await client.info();
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const appendOnly = field('aof_enabled') === '1';
  let appendFsync: string | undefined;
  if (appendOnly) {
    // Managed services and restricted users have no CONFIG.
    const answer = await client.config('GET', 'appendfsync').catch(() => []);
    appendFsync = (answer as string[])[1];
  }
  return {
    version: field('valkey_version') ?? field('redis_version') ?? '0',
    mode: field('redis_mode') ?? field('server_mode') ?? 'standalone',
    evictionPolicy: field('maxmemory_policy'),
    appendOnly,
    appendFsync,
  };
}

/** Throws `unsupported` for servers that cannot do what the adapter or its options need. */
export function checkServer({ version, mode }: ServerFacts, { durability }: Settings): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const least = durability.waitAof ? 702 : 700;
  if (major * 100 + minor < least) {
    const needed = durability.waitAof ? '7.2 (for durability.waitAof)' : '7.0';
    throw adapterError('unsupported', `Redis ${version} is too old: holdfast/redis needs ${needed} or newer`);
  }
  if (mode === 'cluster')
    throw adapterError('unsupported', 'Redis Cluster is not supported: use a primary, or Sentinel');
}

type Check = AdapterHealth['checks'][number];

/** What the server's configuration means for the promises made. */
export function serverChecks(facts: ServerFacts, { durability }: Settings): Check[] {
  const { evictionPolicy, appendOnly, appendFsync } = facts;
  const evicts = evictionPolicy !== undefined && evictionPolicy !== 'noeviction';
  // What has an expiry here: leases of shards, and what was published lately.
  const victims = evictionPolicy?.startsWith('volatile') ? 'leases and what it knows of resends' : 'messages';
  const live = appendOnly ? `appendfsync ${appendFsync ?? 'unknown'}` : 'appendonly no';
  const synced = appendOnly && (durability.waitAof || appendFsync === undefined || appendFsync === 'always');
  return [
    {
      name: 'eviction-policy',
      ok: !evicts,
      detail: evicts
        ? `maxmemory-policy is ${evictionPolicy}: a full server deletes ${victims}; set noeviction`
        : `maxmemory-policy is ${evictionPolicy ?? 'unknown'}`,
    },
    {
      name: 'durability',
      ok: durability.level === 'memory' || synced,
      detail:
        durability.level === 'memory' || synced
          ? live
          : `${live}: confirmed messages can be lost; set appendonly yes and appendfsync always, or durability: 'memory'`,
    },
  ];
}
