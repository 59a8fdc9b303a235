import { Redis } from 'ioredis';
import { type Server, startServer } from '../fleet/index.ts';
import { until } from './port-harness.ts';

/** A primary and its replica, watched by three Sentinels. */
export interface Watched {
  readonly primary: Server;
  readonly replica: Server;
  readonly sentinels: readonly Server[];
  /** For `redis({ sentinels })`. */
  readonly options: { readonly name: string; readonly nodes: readonly string[] };
  /** The primary's port, by the Sentinels. */
  primaryPort(): Promise<string>;
  /** From now on nothing reaches the replica, though every server is well. */
  cutReplication(): Promise<void>;
  /** Waits until the Sentinels say that it is another one. */
  failedOver(): Promise<void>;
  stop(): Promise<void>;
}

const name = 'main';
/** How long a server must be silent to count as down: longer than a busy test machine holds one up. */
const downAfterMs = 2_000;

export async function startWatched(): Promise<Watched> {
  const servers: Server[] = [];
  const own = async (config: Record<string, string>): Promise<Server> => {
    const server = await startServer('redis', { own: true, config });
    servers.push(server);
    return server;
  };
  const clients: Redis[] = [];
  const raw = (server: Server): Redis => {
    const client = new Redis(server.url, { protocol: 2 });
    client.on('error', () => {});
    clients.push(client);
    return client;
  };
  const portOf = (server: Server): string => new URL(server.url).port;

  // Both know the user by whom a replica follows, so that each may be either.
  const both = {
    user: 'follower on >f0llow +ping +replconf +psync',
    masteruser: 'follower',
    masterauth: 'f0llow',
    'repl-diskless-sync-delay': '0',
  };
  const primary = await own(both);
  const replica = await own({ ...both, replicaof: `127.0.0.1 ${portOf(primary)}` });
  const follower = raw(replica);
  // Sentinels look for replicas when they meet the primary, and then every ten seconds.
  await until('the replica follows', async () =>
    (await follower.info('replication')).includes('master_link_status:up'),
  );
  const sentinels: Server[] = [];
  for (let n = 0; n < 3; n++)
    sentinels.push(
      await own({
        'sentinel monitor': `${name} 127.0.0.1 ${portOf(primary)} 2`,
        'sentinel down-after-milliseconds': `${name} ${downAfterMs}`,
        'sentinel failover-timeout': `${name} 6000`,
      }),
    );
  const watchers = sentinels.map(raw);
  await until('the Sentinels know each other and the replica', async () => {
    const known = await Promise.all(
      watchers.flatMap((watcher) => [
        watcher.call('SENTINEL', 'SENTINELS', name),
        watcher.call('SENTINEL', 'REPLICAS', name),
      ]),
    );
    return known.every((list, index) => (list as unknown[]).length === (index % 2 === 0 ? 2 : 1));
  });
  const primaryPort = async (): Promise<string> =>
    ((await watchers[0]!.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as string[])[1]!;

  return {
    primary,
    replica,
    sentinels,
    options: { name, nodes: sentinels.map((server) => `127.0.0.1:${portOf(server)}`) },
    primaryPort,
    async cutReplication() {
      const operator = raw(primary);
      await operator.acl('SETUSER', 'follower', 'off');
      await operator.call('CLIENT', 'KILL', 'TYPE', 'replica');
      await until('it has no replica', async () => (await operator.info('replication')).includes('connected_slaves:0'));
    },
    async failedOver() {
      await until('there is another primary', async () => (await primaryPort()) === portOf(replica), 60_000);
    },
    async stop() {
      for (const client of clients) client.disconnect();
      for (const server of servers.toReversed()) await server.stop();
    },
  };
}
