import { stat } from 'node:fs/promises';
import type { AdapterHooks, BrokerAdapter, Capabilities, PublishOutcome } from '../../src/port.ts';
import { type CountBacklog, createBacklog } from './backlog.ts';
import { createClaims } from './claims.ts';
import { type Shared, type SqliteSource, subscribe } from './consume.ts';
import { createDeadLetters, type DeadLetters } from './dead-letters.ts';
import { adapterError, isTransient } from './errors.ts';
import { type OpenFile, openFile } from './open.ts';
import { checkOptions, type SqliteOptions } from './options.ts';
import { createOwners } from './owners.ts';
import { createPublish } from './publish.ts';
import { createMark, createSettle } from './settle.ts';
import { createShardLeases } from './shards.ts';
import { createRegistry, type Registry } from './topology.ts';
import { announce, listen, type Poll, startPoll } from './wake.ts';
import { createWriter, type Writer } from './writer.ts';

export { sqliteDedupe } from './dedupe.ts';
export type { SqliteDedupeOptions } from './dedupe-options.ts';
export type { SqliteOptions } from './options.ts';
export { type SqliteStoreOptions, sqliteStore } from './store.ts';

const MIB = 1024 * 1024;

const CAPABILITIES: Capabilities = {
  durability: 'disk',
  multiProcess: true,
  order: 'native',
  priority: 'native',
  delayedPublish: 'native',
  delayedRetry: 'native',
  delayPrecision: 'exact',
  deadLetters: 'native',
  publishDedupe: 'none',
  atomicMoves: true,
  history: false,
  unroutable: true,
  leases: true,
  backlog: ['ready', 'inFlight', 'delayed', 'dead', 'oldestAgeMs'],
  defaultPartitions: 1,
  maxBodyBytes: 16 * MIB,
  marks: true,
  // One call at a time: all that waits meanwhile goes into the next transaction, and shares its sync.
  flow: { batchMessages: 500, batchBytes: 4 * MIB, window: 1, exclusive: 'partition' },
};

/** All that exists between `connect` and `close`. */
interface Session extends Shared {
  readonly file: OpenFile;
  readonly registry: Registry;
  readonly publish: BrokerAdapter['publish'];
  readonly deadLetters: DeadLetters;
  readonly backlog: CountBacklog;
  readonly sources: Set<SqliteSource>;
  readonly poll: Poll;
  readonly unlisten: () => void;
}

/**
 * A broker in one SQLite file, for as many processes of one machine as open it; no server, no dependency.
 *
 * A confirm means that the message is synced to disk (WAL, `synchronous = FULL`): neither a crash of the process nor of
 * the machine loses it. Times (delays, leases) are the machine's clock's. A process that is killed gives up its leases
 * within about a second; one that hangs, when they run out. Not for network file systems, which are refused where they
 * are recognised: SQLite's write-ahead log needs memory that the processes share.
 */
export function sqlite(options: SqliteOptions): BrokerAdapter {
  const { path, pollMs, busyTimeoutMs } = checkOptions(options);
  let session: Session | undefined;

  function open(): Session {
    if (session === undefined)
      throw adapterError('broker-unreachable', `"${path}" is not open: connect first, and not after close`);
    return session;
  }

  return {
    name: 'sqlite',
    capabilities: path === ':memory:' ? { ...CAPABILITIES, durability: 'memory', multiProcess: false } : CAPABILITIES,
    async connect(hooks) {
      if (session !== undefined) return;
      session = startSession(await openFile(path, busyTimeoutMs), hooks, { path, pollMs, busyTimeoutMs });
      hooks.emit({ type: 'connected', detail: path });
    },
    async declare(topology) {
      const { registry, hooks } = open();
      await registry.declare(topology, hooks.declare);
    },
    async publish(batch, limit) {
      let current: Session;
      try {
        current = open();
      } catch (error) {
        return batch.map((): PublishOutcome => ({ kind: 'rejected', error }));
      }
      return current.publish(batch, limit);
    },
    async subscribe(subscription, receive) {
      const current = open();
      const { topic } = subscription.topology;
      await current.registry.declare(subscription.topology, current.hooks.declare);
      const source = await subscribe(current, current.registry.group(topic, subscription.group), subscription, receive);
      current.sources.add(source);
      // Closed meanwhile: nobody else would stop it.
      if (session !== current) await source.stop();
      return {
        ...source,
        async stop() {
          await source.stop();
          current.sources.delete(source);
        },
      };
    },
    deadLetters(topology, group) {
      // Looked up at each call: the store may be kept over a reconnect.
      const store = () => open().deadLetters(topology, group);
      return {
        sorted: true,
        scan: (scan) => store().scan(scan),
        replay: (letters, marks) => store().replay(letters, marks),
        replace: (replacements) => store().replace(replacements),
        discard: (letters) => store().discard(letters),
        count: async () => store().count(),
      };
    },
    backlog: async (topology, group) => open().backlog(topology, group),
    async health() {
      if (session === undefined) return { connected: false, checks: [] };
      return { connected: true, checks: [await checkFile(path)] };
    },
    isTransient,
    async close() {
      const closing = session;
      if (closing === undefined) return;
      session = undefined;
      await endSession(closing);
      closing.hooks.emit({ type: 'disconnected', detail: path });
    },
  };
}

function startSession(file: OpenFile, hooks: AdapterHooks, options: Required<SqliteOptions>): Session {
  const { db } = file;
  const { path, pollMs, busyTimeoutMs } = options;
  const sources = new Set<SqliteSource>();
  // A private database is nobody else's to wake.
  const address = path === ':memory:' ? `:memory:${hooks.instance}` : file.realPath;
  const writer = createWriter(db, path, busyTimeoutMs, () => announce(address));
  const owners = createOwners(db, hooks.instance);
  const leases = createShardLeases(db);
  const registry = createRegistry(db, writer);
  const poll = startPoll(db, pollMs, {
    changed() {
      for (const source of sources) source.changed();
    },
    tick() {
      if (sources.size > 0) buryGone(owners, writer, hooks);
      for (const source of sources) source.changed();
    },
    failed: (error) => hooks.emit({ type: 'warning', code: 'sqlite-poll-failed', detail: `${path}: ${String(error)}` }),
  });
  return {
    file,
    hooks,
    writer,
    owners,
    leases,
    registry,
    sources,
    poll,
    claims: createClaims(db),
    settleBatch: createSettle(db, leases),
    mark: createMark(db, leases),
    publish: createPublish(db, writer, registry, { hooks, busyTimeoutMs }),
    deadLetters: createDeadLetters(db, writer, registry, hooks),
    backlog: createBacklog(db, registry),
    unlisten: listen(address, () => {
      poll.hurry();
      for (const source of sources) source.wake();
    }),
  };
}

async function endSession({ sources, poll, unlisten, writer, file }: Session): Promise<void> {
  await Promise.all([...sources].map((source) => source.stop()));
  poll.stop();
  unlisten();
  await writer.close();
  file.db.close();
}

/** Frees what dead processes held, so that nobody waits for their leases to run out. */
function buryGone(owners: Shared['owners'], writer: Writer, hooks: AdapterHooks): void {
  const gone = owners.gone();
  if (gone.length === 0) return;
  writer
    .write(() => owners.bury(gone), { durable: false, notify: true })
    .catch((error: unknown) => {
      hooks.emit({ type: 'warning', code: 'sqlite-bury-failed', detail: String(error) });
    });
}

async function checkFile(path: string): Promise<{ name: string; ok: boolean; detail?: string }> {
  if (path === ':memory:') return { name: 'file', ok: true };
  try {
    await stat(path);
    return { name: 'file', ok: true, detail: path };
  } catch (error) {
    return { name: 'file', ok: false, detail: `${path}: ${String(error)}` };
  }
}
