import { defineConfig } from '../../../src/index.ts';
import { fakeAdapter } from '../fake-adapter.ts';

/** As a connection does, it keeps the process alive until it is closed. */
function connected(): ReturnType<typeof fakeAdapter> {
  let connection: NodeJS.Timeout;
  return fakeAdapter({
    async connect() {
      connection = setInterval(() => undefined, 1_000);
    },
    async close() {
      clearInterval(connection);
      console.log('closed');
    },
  });
}

export default defineConfig({
  topics: [],
  environments: {
    development: {
      adapter: connected,
      store() {
        throw new Error('the database is away');
      },
    },
  },
});
