/** One PostgreSQL, of which every process is killed at once; rows of the outbox beside rows of the business. */

import { postgresStore } from 'holdfast/postgres';
import pg from 'pg';
import { now } from '../chaos/ledger-file.ts';
import { startServer } from '../fleet/index.ts';
import type { Scene } from './scene.ts';

export async function openPostgres(config: Readonly<Record<string, string>>): Promise<Scene> {
  const server = await startServer('postgres', { own: true, config });
  const pool = new pg.Pool({ connectionString: server.url, max: 2 });
  pool.on('error', () => undefined);
  const store = postgresStore({ pool, notify: false });
  await store.migrate();
  await store.close();
  await pool.query('create table business (topic text not null, id text not null)');
  const idsBy = async (statement: string, topic: string): Promise<string[]> =>
    (await pool.query<{ id: string }>(statement, [topic])).rows.map(({ id }) => id);
  return {
    version: server.version,
    link: { via: 'postgres', url: server.url },
    async prepare() {},
    async strike() {
      const at = now();
      await server.kill();
      return at;
    },
    recover: () => server.restart(),
    async found(topic) {
      const rows = await idsBy('select message_id id from holdfast.outbox where topic = $1', topic);
      const business = new Set(await idsBy('select id from business where topic = $1', topic));
      const sent = new Set(rows);
      // One without the other is what nobody ever committed: a phantom.
      return [
        ...rows.map((id) => (business.has(id) ? id : `${id} without its business`)),
        ...[...business].filter((id) => !sent.has(id)).map((id) => `${id} without its message`),
      ];
    },
    async close() {
      await pool.end();
      await server.stop();
    },
  };
}
