/** What holdfast says of the settings that lose, where no test of an adapter asserts it. */

import { expect, it } from 'vitest';
import { type ServerFacts, serverChecks } from '../../adapters/redis/health.ts';
import { redis } from '../../adapters/redis/index.ts';
import { type RedisOptions, settingsOf } from '../../adapters/redis/options.ts';

const facts: ServerFacts = {
  version: '8.0.2',
  mode: 'standalone',
  evictionPolicy: 'noeviction',
  appendOnly: true,
  appendFsync: 'always',
};

function durabilityOf(more: Partial<ServerFacts>, durability: RedisOptions['durability'] = 'disk') {
  const checks = serverChecks({ ...facts, ...more }, settingsOf({ url: 'redis://h', durability }));
  return checks.find(({ name }) => name === 'durability');
}

it('Redis without AOF is unhealthy, and stays so whatever is waited for, unless no more than memory was asked for', () => {
  const without = { appendOnly: false, appendFsync: undefined };
  for (const durability of ['disk', { waitAof: true }, { waitAof: true, replicas: 1 }] as const)
    expect(durabilityOf(without, durability)).toMatchObject({
      ok: false,
      detail: expect.stringMatching(/^appendonly no: confirmed messages can be lost; set appendonly yes/),
    });
  expect(durabilityOf(without, 'memory')).toMatchObject({ ok: true, detail: 'appendonly no' });
});

it('Redis with everysec is unhealthy unless each fsync is waited for', () => {
  expect(durabilityOf({ appendFsync: 'everysec' })).toMatchObject({ ok: false });
  expect(durabilityOf({ appendFsync: 'everysec' }, { waitAof: true })).toMatchObject({ ok: true });
  expect(durabilityOf({})).toMatchObject({ ok: true, detail: 'appendfsync always' });
});

it("behind Sentinels it claims the primary's disk and no more: never that a failover is survived", () => {
  const sentinels = { name: 'main', nodes: ['h:26379'] };
  const claimed = (durability?: RedisOptions['durability']): string =>
    redis({ sentinels, ...(durability === undefined ? {} : { durability }) }).capabilities.durability;
  expect(claimed()).toBe('disk');
  expect(claimed({ replicas: 1 })).toBe('memory');
  expect(claimed({ waitAof: true, replicas: 1 })).toBe('disk');
});
