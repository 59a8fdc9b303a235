import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sqliteStore } from '../../adapters/sqlite/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import type { InboxUnderTest, PrivateServer } from '../conformance/index.ts';
import { type Kind, startServer } from '../fleet/index.ts';

/** An inbox in a file of its own: any broker goes with any store. */
export async function inboxInFile(): Promise<InboxUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-inbox-'));
  const store = sqliteStore({ path: join(folder, 'inbox.db'), source: 'conformance' });
  await store.migrate();
  return {
    inbox: store.inbox as InboxUnderTest['inbox'],
    async close() {
      await store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The server that the test run has started. */
export function urlOf(kind: Kind): string {
  const url = process.env[`HOLDFAST_${kind.toUpperCase()}_URL`];
  if (url === undefined)
    throw new Error(
      `HOLDFAST_${kind.toUpperCase()}_URL is not set: run these tests by npm test, which starts the servers`,
    );
  return url;
}

/** A server that a case may kill. */
export async function privateServer(kind: Kind, adapter: (url: string) => BrokerAdapter): Promise<PrivateServer> {
  const server = await startServer(kind, { own: true });
  return {
    adapter: () => adapter(server.url),
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
  };
}
