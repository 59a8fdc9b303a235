import { setTimeout as sleep } from 'node:timers/promises';
import { redis } from '../../adapters/redis/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { hooksOf } from './port-harness.ts';
import { portPromises } from './port-promises.ts';

const url = process.env.HOLDFAST_REDIS_URL ?? 'redis://127.0.0.1:6379';

portPromises('redis', async () => {
  const clients: BrokerAdapter[] = [];
  return {
    async client() {
      const adapter = redis({ url });
      clients.push(adapter);
      await adapter.connect(hooksOf());
      return adapter;
    },
    now: Date.now,
    pass: (ms) => sleep(ms),
    async end() {
      for (const adapter of clients) await adapter.close();
    },
  };
});
