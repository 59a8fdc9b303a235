import type { Scene } from './scene.ts';

/** One way to set a server and, where it takes that, holdfast. */
export interface Variant {
  readonly title: string;
  open(): Promise<Scene>;
}

/** What is known to lose, and what to set instead: both are broken in the same way. */
export interface Setting {
  readonly lossy: Variant;
  readonly safe: Variant;
}

const redis = async (...words: Parameters<typeof import('./redis.ts').openRedis>): Promise<Scene> =>
  (await import('./redis.ts')).openRedis(...words);
const sentinel = async (...words: Parameters<typeof import('./sentinel.ts').openSentinel>): Promise<Scene> =>
  (await import('./sentinel.ts')).openSentinel(...words);
const postgres = async (...words: Parameters<typeof import('./postgres.ts').openPostgres>): Promise<Scene> =>
  (await import('./postgres.ts')).openPostgres(...words);
const kafka = async (...words: Parameters<typeof import('./kafka.ts').openKafka>): Promise<Scene> =>
  (await import('./kafka.ts')).openKafka(...words);

/** A disk whose fsync takes so long: without it Redis has nothing unwritten that a kill could take. */
const STALL_MS = 800;

const all = {
  'redis-no-aof': {
    lossy: { title: 'appendonly no', open: () => redis({ config: { appendonly: 'no' } }) },
    safe: { title: 'appendfsync always', open: () => redis({ config: { appendfsync: 'always' } }) },
  },
  'redis-everysec': {
    lossy: {
      title: `appendfsync everysec, fsync takes ${STALL_MS} ms`,
      open: () => redis({ config: { appendfsync: 'everysec' }, fsyncMs: STALL_MS }),
    },
    safe: {
      title: 'the same with durability { waitAof: true }',
      open: () =>
        redis({
          config: { appendfsync: 'everysec' },
          fsyncMs: STALL_MS,
          options: { durability: { waitAof: true, timeoutMs: 4_000 } },
        }),
    },
  },
  'redis-sentinel': {
    lossy: { title: 'Sentinel failover, replica behind', open: () => sentinel({}) },
    safe: {
      title: 'the same with durability { replicas: 1 }',
      open: () => sentinel({ durability: { replicas: 1, timeoutMs: 500 } }),
    },
  },
  'postgres-async': {
    lossy: { title: 'outbox, synchronous_commit=off', open: () => postgres({ synchronous_commit: 'off' }) },
    safe: { title: 'outbox, synchronous_commit=on', open: () => postgres({ synchronous_commit: 'on' }) },
  },
  'kafka-min-insync': {
    lossy: {
      title: 'replication 3, min.insync.replicas 1, unclean election',
      open: () => kafka({ minInsync: 1, unclean: true }),
    },
    safe: {
      title: 'replication 3, min.insync.replicas 2',
      open: () => kafka({ minInsync: 2, unclean: false }),
    },
  },
} satisfies Readonly<Record<string, Setting>>;

export type SettingName = keyof typeof all;
export const settings: Readonly<Record<SettingName, Setting>> = all;
export const settingNames: readonly SettingName[] = Object.keys(all) as SettingName[];
