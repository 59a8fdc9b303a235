import { Client } from 'pg';
import { lines, type Recipe } from '../recipe.ts';

const bin = '/usr/lib/postgresql/17/bin';

export const postgres: Recipe = {
  ports: 1,
  user: 'postgres',
  stopSignal: 'SIGINT', // fast shutdown: open sessions are ended, not waited for
  launch: ({ data, ports: [port], config }) => {
    const settings = {
      listen_addresses: "'127.0.0.1'",
      port: String(port),
      unix_socket_directories: "''",
      max_connections: '200',
      shared_buffers: '128MB',
      wal_level: 'logical',
      ...config,
    };
    const url = `postgres://lab:lab@127.0.0.1:${port}/lab`;
    return {
      url,
      files: { 'fleet.conf': lines(settings, ' = ') },
      // The marker comes last, so that a start which was cut short is done again from the beginning.
      script: `
        if [ ! -e created ]; then
          rm -rf db
          ${bin}/initdb -D db -U lab -A trust -E UTF8 --no-locale --no-sync
          echo "include '${data}/fleet.conf'" >> db/postgresql.conf
          echo 'create database lab' | ${bin}/postgres --single -D db postgres
          touch created
        fi
        exec ${bin}/postgres -D db`,
      isReady: () => acceptsQueries(url),
    };
  },
};

async function acceptsQueries(connectionString: string): Promise<boolean> {
  const client = new Client({ connectionString, connectionTimeoutMillis: 2000 });
  client.on('error', () => {}); // a connection lost between two calls also means "not ready"
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
