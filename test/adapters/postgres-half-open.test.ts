import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import pg from 'pg';
import { afterAll, expect, it } from 'vitest';
import { postgresStore } from '../../adapters/postgres/index.ts';
import { until } from '../conformance/until.ts';
import { startProxy } from '../fleet/proxy.ts';
import { admin, connectionString } from './postgres-store-fixture.ts';

afterAll(() => admin.end());

it('closes a store, and its socket, when the connection that it listens on has died without a word', async () => {
  const proxy = await startProxy({ target: connectionString ?? '' });
  const sockets: Socket[] = [];
  const stream = (): Socket => {
    const socket = new Socket();
    sockets.push(socket);
    return socket;
  };
  const name = randomUUID();
  const pool = new pg.Pool({ connectionString: proxy.url, application_name: name, stream });
  const store = postgresStore<pg.PoolClient>({ pool });
  store.outbox.relay.onWake(() => undefined);
  await until('it listens', async () => {
    const listening = `select 1 from pg_stat_activity where application_name = $1 and query like 'LISTEN%'`;
    return (await admin.query(listening, [name])).rows.length === 1;
  });
  proxy.halfOpen('both');
  await store.close();
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
  await pool.end();
  await proxy.stop();
});
