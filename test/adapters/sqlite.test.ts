import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sqlite } from '../../adapters/sqlite/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { hooksOf } from './port-harness.ts';
import { portPromises } from './port-promises.ts';

portPromises('sqlite', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'));
  const clients: BrokerAdapter[] = [];
  return {
    async client() {
      const adapter = sqlite({ path: join(directory, 'broker.db'), pollMs: 5 });
      clients.push(adapter);
      await adapter.connect(hooksOf());
      return adapter;
    },
    now: () => Date.now(),
    pass: (ms) => sleep(ms + 1),
    async end() {
      for (const adapter of clients) await adapter.close();
      rmSync(directory, { recursive: true });
    },
  };
});
