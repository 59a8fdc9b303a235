import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { sqliteStore } from '../../../adapters/sqlite/index.ts';
import { connect, createRelay, defineTopic } from '../../../src/index.ts';
import { internalsOf } from '../../../src/internals.ts';
import { publishRow } from '../../../src/outbox/publish-row.ts';
import type { Outgoing } from '../../../src/port.ts';
import { until } from '../../conformance/until.ts';

const HOUR_MS = 3_600_000;
afterEach(() => void vi.useRealTimers());

it.for([HOUR_MS, -HOUR_MS])(
  'S15: rows expire by the store’s clock, though the relay’s is %i ms ahead of it',
  async (aheadMs) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-expiry-'));
    const store = sqliteStore({ path: join(folder, 'store.db'), source: 'shop' });
    await store.migrate();
    const broker = memory();
    const sent: Outgoing[] = [];
    const client = await connect({
      adapter: {
        ...broker,
        publish: (batch, limit) => {
          sent.push(...batch);
          return broker.publish(batch, limit);
        },
      },
    });
    const relay = createRelay({ client, outbox: store.outbox, maxIdleMs: 20 });
    try {
      const topic = defineTopic<string>('orders', { groups: ['g'] });
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + aheadMs });
      await store.outbox.transaction(async (tx) => {
        await store.outbox.add(tx, topic, 'in time', { id: 'in time', expiresInMs: 60_000 });
        await store.outbox.add(tx, topic, 'too late', { id: 'too late', expiresInMs: 1 });
      });
      await new Promise((resolve) => setTimeout(resolve, 10));
      await relay.start();
      await until('the outbox is empty', async () => (await store.outbox.relay.pending()).total === 0);
      expect(sent.map(({ id }) => id)).toEqual(['in time']);
    } finally {
      await relay.stop();
      await client.close();
      await store.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
);

it.for([HOUR_MS, -HOUR_MS])(
  'S15: a spilled row expires counted from its publishing, though the store’s clock is %i ms ahead of its publisher’s',
  async (aheadMs) => {
    const client = await connect({ adapter: memory() });
    const now = Date.now();
    const kindOf = async (publishedAt: number): Promise<string | undefined> => {
      const topic = defineTopic<string>('orders', { groups: ['g'] });
      const entry = await topic.toEntry('x', { expiresInMs: 60_000 });
      const row = { ...entry, rowId: '1', source: 'shop', attempts: 0, addedAt: now + aheadMs, publishedAt };
      return (await publishRow(row, internalsOf(client), 1_000, now + aheadMs))?.kind;
    };
    expect(await kindOf(now - 30_000)).toBe('sent');
    expect(await kindOf(now - 61_000)).toBe('park');
    await client.close();
  },
);
