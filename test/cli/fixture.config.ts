import { join } from 'node:path';
import { defineConfig, defineTopic } from 'holdfast';
import { sqlite, sqliteStore } from 'holdfast/sqlite';

const folder = process.env.FIXTURE_FOLDER ?? '.';

export const orderPlaced = defineTopic<{ n: number }>('cli.orders', { groups: ['billing'] });

export default defineConfig({
  topics: [orderPlaced],
  environments: {
    development: {
      adapter: () => sqlite({ path: join(folder, 'broker.db') }),
      store: () => sqliteStore({ path: join(folder, 'store.db'), source: 'cli' }),
      relay: { leaseMs: 2_000 },
    },
    bare: { adapter: 'memory:' },
    unreachable: {
      adapter: 'amqp://user:canary-secret@127.0.0.1:1',
      store: () => sqliteStore({ path: join(folder, 'other.db') }),
    },
  },
});
