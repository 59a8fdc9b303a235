import { expect, it } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { connect, createRelay } from '../../../src/index.ts';
import type { ShardLease } from '../../../src/port.ts';
import { gate } from '../fake-adapter.ts';
import { outboxOf } from './fake-outbox.ts';

it('a relay that is stopped while it starts holds no leases afterwards', async () => {
  const leased = gate<readonly ShardLease[]>();
  const log: string[] = [];
  const client = await connect({ adapter: memory() });
  const outbox = outboxOf({
    async lease() {
      const leases = await leased.opened;
      log.push('lease');
      return leases;
    },
    async release() {
      log.push('release');
    },
  });
  const relay = createRelay({ client, outbox });
  const starting = relay.start();
  const stopping = relay.stop();
  leased.open([{ shard: 0, epoch: 1 }]);
  await Promise.all([starting, stopping]);
  expect(log).toEqual(['lease', 'release']);
  await client.close();
});

it('a renewal under way when the relay stops comes before the release', async () => {
  const renewing = gate();
  const renewed = gate();
  const log: string[] = [];
  const client = await connect({ adapter: memory() });
  let calls = 0;
  const outbox = outboxOf({
    async lease() {
      calls += 1;
      if (calls > 1) {
        renewing.open();
        await renewed.opened;
      }
      log.push('lease');
      return [];
    },
    async release() {
      log.push('release');
    },
  });
  const relay = createRelay({ client, outbox, leaseMs: 500 });
  await relay.start();
  await renewing.opened;
  const stopping = relay.stop();
  await new Promise((resolve) => setImmediate(resolve));
  renewed.open();
  await stopping;
  expect(log).toEqual(['lease', 'lease', 'release']);
  await client.close();
});

it('a relay starts once, also when asked twice at once; one that could not start may try again', async () => {
  const client = await connect({ adapter: memory() });
  let calls = 0;
  const outbox = outboxOf({
    async lease() {
      calls += 1;
      if (calls === 1) throw new Error('the database is away');
      return [];
    },
  });
  const relay = createRelay({ client, outbox });
  await expect(relay.start()).rejects.toThrow('away');
  const second = relay.start();
  await expect(relay.start()).rejects.toThrow(TypeError);
  await second;
  await client.close();
  await expect(createRelay({ client, outbox }).start()).rejects.toMatchObject({ code: 'client-closed' });
});
